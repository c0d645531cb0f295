//! The operations of RAM that exist here, one file each, and what all of them have in common: decoding, client tokens
//! and the order of the checks.

mod associate;
mod associations;
mod create;
mod delete;
mod disassociate;
mod resource_types;
mod shares;
mod tag;
mod untag;
mod update;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Settings,
    clock::Moment,
    error::Refusal,
    share::Share,
    shares::Shares,
    tokens::{self, Seen},
    world::World,
};

/// What an operation may look at besides its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: Moment,
    /// The request's client token, or RAM's own where the request has none and might have one.
    pub(crate) token: Option<&'a str>,
}

/// One operation. `check` refuses what is wrong in itself, `apply` does the work or refuses what the state forbids.
pub(crate) trait Action {
    const NAME: &'static str;
    const METHOD: Method = Method::POST;
    const PATH: &'static str;
    const TAKES_TOKEN: bool = false;
    type Input: DeserializeOwned;
    type Checked;

    fn check(input: Self::Input, context: &Context<'_>) -> Result<Self::Checked, Refusal>;

    /// Must change nothing when it refuses.
    fn apply(checked: Self::Checked, context: &Context<'_>, shares: &mut Shares) -> Result<Value, Refusal>;

    /// Brings a remembered answer up to date.
    fn refresh(answer: Value, _context: &Context<'_>, _shares: &Shares) -> Value {
        answer
    }
}

/// An answer, and whether work was done for it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) answer: Value,
    pub(crate) executed: bool,
}

type Run = fn(Map<String, Value>, &Context<'_>, &mut World) -> Result<Done, Refusal>;

/// An operation without its types, as the router needs it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) run: Run,
}

impl Operation {
    const fn of<A: Action>() -> Self {
        Self {
            name: A::NAME,
            method: A::METHOD,
            path: A::PATH,
            run: run::<A>,
        }
    }
}

/// Every operation of this endpoint.
pub(super) static OPERATIONS: [Operation; 10] = [
    Operation::of::<associate::AssociateResourceShare>(),
    Operation::of::<create::CreateResourceShare>(),
    Operation::of::<delete::DeleteResourceShare>(),
    Operation::of::<disassociate::DisassociateResourceShare>(),
    Operation::of::<associations::GetResourceShareAssociations>(),
    Operation::of::<shares::GetResourceShares>(),
    Operation::of::<resource_types::ListResourceTypes>(),
    Operation::of::<tag::TagResource>(),
    Operation::of::<untag::UntagResource>(),
    Operation::of::<update::UpdateResourceShare>(),
];

/// The operation behind a method and path.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Operation> {
    OPERATIONS
        .iter()
        .find(|operation| operation.method == *method && operation.path == path)
}

fn run<A: Action>(
    parameters: Map<String, Value>,
    context: &Context<'_>,
    world: &mut World,
) -> Result<Done, Refusal> {
    let fingerprint = tokens::fingerprint(&parameters);
    let given = parameters
        .get("clientToken")
        .filter(|_| A::TAKES_TOKEN)
        .and_then(Value::as_str)
        .map(str::to_owned);
    if let Some(token) = &given {
        tokens::check(token)?;
    }
    let token = A::TAKES_TOKEN.then(|| given.clone().unwrap_or_else(|| Uuid::new_v4().to_string()));
    let context = &Context {
        token: token.as_deref(),
        ..*context
    };
    let input = serde_json::from_value(Value::Object(parameters))
        .map_err(|error| Refusal::serialization(format!("the request cannot be read: {error}")))?;
    let checked = A::check(input, context)?;

    if let Some(token) = &given {
        match world.tokens.look(A::NAME, token, &fingerprint, context.now) {
            Seen::Never => {}
            Seen::Same(answer) => {
                let answer = A::refresh(answer, context, &world.shares);
                return Ok(Done {
                    answer,
                    executed: false,
                });
            }
            Seen::Other => {
                return Err(Refusal::idempotent_parameter_mismatch(
                    "The client token was used before with other parameters.",
                ));
            }
        }
    }

    let mut answer = A::apply(checked, context, &mut world.shares)?;
    if let Some(token) = context.token
        && let Value::Object(members) = &mut answer
    {
        members.insert("clientToken".to_owned(), Value::from(token));
    }
    if let Some(token) = &given {
        world
            .tokens
            .remember(A::NAME, token, fingerprint, answer.clone(), context.now);
    }
    Ok(Done {
        answer,
        executed: true,
    })
}

/// The share with this ARN, unless it is deleted.
fn active<'a>(shares: &'a mut Shares, arn: &str) -> Result<&'a mut Share, Refusal> {
    shares
        .get_mut(arn)
        .filter(|share| share.deleted.is_none())
        .ok_or_else(|| Refusal::unknown_share(arn))
}

/// A page of a list as RAM answers it.
fn listing(member: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = Map::new();
    answer.insert(member.to_owned(), Value::Array(items));
    if let Some(next) = next {
        answer.insert("nextToken".to_owned(), Value::from(next));
    }
    Value::Object(answer)
}
