//! Replays through the facade against echoes of the same message.

use prost::Message;
use ram_facade::pb::v1::CreateResourceShareRequest;

use crate::{
    Sizes,
    common::{echo, load, process::Process, report::Page, turns::take_turns},
    facade::Setting,
    h2load::{self, Target},
    side::{LEVELS, Shown, Table},
};

pub(crate) const ECHO: &str = "echo";
pub(crate) const REPLAY: &str = "facade, replay";

struct Side<'a> {
    process: Process,
    target: Target<'a>,
    shown: Shown,
}

impl Side<'_> {
    fn turn(&mut self, round: usize, in_flight: usize, sizes: &Sizes) {
        let length = sizes.length(round);
        let before = self.process.cpu_ms();
        let load = h2load::run(&self.target, in_flight, length);
        if round > 0 {
            self.shown.note(&self.process, before, load);
        }
    }
}

pub(crate) struct Replays(pub(crate) Table);

pub(crate) async fn measure(sizes: &Sizes, setting: &Setting) -> Replays {
    let mut ram = Process::child(&["ram"]);
    let url = format!("http://{}", ram.line("listening on "));
    let mut facade = setting.facade("replay", ":memory:", &url);
    let facade_address = facade.line("listening on ");
    let request: CreateResourceShareRequest = load::request("replay");
    let body = setting.folder().join("request.grpc");
    h2load::write_body(&body, &request);
    let client = load::connect(&facade_address, 1, Some(setting.token()))
        .await
        .swap_remove(0);
    let answer = load::create(client, request).await;
    let mut echo = Process::child(&["echo", &echo::argument(&answer)]);
    let echo_address = echo.line("listening on ");

    let target = |address| Target {
        address,
        token: setting.token(),
        body: &body,
        answer: answer.encoded_len(),
    };
    let side = |process, address| Side {
        process,
        target: target(address),
        shown: Shown::default(),
    };
    let mut sides = [side(echo, &*echo_address), side(facade, &*facade_address)];
    let mut table = Table::of(vec![ECHO, REPLAY]);
    for in_flight in LEVELS {
        eprintln!("  {in_flight} in flight");
        take_turns(sizes.rounds, &mut sides, async |round, side| {
            side.turn(round, in_flight, sizes);
            setting.truncate_audit("replay");
        })
        .await;
        table.take(sides.iter_mut().map(|side| &mut side.shown));
    }
    Replays(table)
}

impl Replays {
    pub(crate) fn report(&self, page: &mut Page) {
        self.0.report(
            "A replay, against an echo",
            "The same token and request again, answered from memory. Load by h2load, which notes every call.",
            page,
        );
    }
}
