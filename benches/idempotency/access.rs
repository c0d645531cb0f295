//! A replay by a caller who is known and judged, against one by anybody.

use crate::{
    Sizes,
    common::{
        known::Known,
        process::Process,
        report::{Page, Spread},
        turns::take_turns,
    },
    replay::{SERVE, Side, prepare},
};

pub(crate) async fn measure(sizes: &Sizes, page: &mut Page) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let caller = Known::in_folder(folder.path());
    let anybody = Side::known_by(Process::facade(&SERVE), None).await;
    let known = Process::facade(&[&SERVE[..], &caller.flags()].concat());
    let known = Side::known_by(known, Some(&caller.token)).await;
    prepare(&anybody).await;
    prepare(&known).await;
    let mut sides = [anybody, known];
    take_turns(sizes.rounds, &mut sides, async |round, side| {
        side.turn(round, sizes).await
    })
    .await;
    let [anybody, known] = sides;

    page.section(
        "A replay by a known caller, against one by anybody",
        "The same load. A known caller sends a JWT (RS256, verified once and then known by its hash until it expires), and two Cedar\n\
         policies decide about every call.",
        &["", "median (least to most)"],
    );
    for (name, side) in [("anybody", &anybody), ("known and judged", &known)] {
        page.row(
            &format!("{name}, calls per second"),
            Spread::of(side.per_second.clone()).whole(0),
        );
        page.row(
            &format!("{name}, server's processor time for a call, µs"),
            Spread::of(side.cpu_us.clone()).whole(1),
        );
    }
    let ratios = known.cpu_us.iter().zip(&anybody.cpu_us);
    page.row(
        "**known / anybody, processor time**",
        Spread::of(ratios.map(|(known, anybody)| known / anybody)).whole(2),
    );
    let ratios = known.per_second.iter().zip(&anybody.per_second);
    page.row(
        "**known / anybody, throughput**",
        Spread::of(ratios.map(|(known, anybody)| known / anybody)).whole(2),
    );
}
