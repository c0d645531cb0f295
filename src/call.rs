//! One authenticated request on its way through the call ring.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    slice,
    sync::Arc,
};

use tokio::time::Instant;

use crate::operation::Operation;

/// Who calls: the stable name that a verifier proved.
///
/// Stable means that it is the same for every session, credential rotation and address of the same workload, because
/// idempotency keys are private to it.
///
/// Two callers are equal when their names are, whatever else is known about them.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Identity>);

#[derive(Clone, Debug)]
struct Identity {
    issuer: Arc<str>,
    subject: Arc<str>,
    proof: Proof,
    attributes: BTreeMap<String, Attribute>,
}

/// What proved a caller's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing did: authentication is off.
    Nothing,
    /// A bearer token from a file of hashes.
    StaticToken,
    /// A client certificate.
    Certificate,
    /// A signed JWT.
    Jwt,
}

impl Proof {
    /// Every kind of proof.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::StaticToken, Self::Certificate, Self::Jwt];

    /// Its name in logs and policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::StaticToken => "static-token",
            Self::Certificate => "certificate",
            Self::Jwt => "jwt",
        }
    }
}

/// Something that a verifier knows about a caller besides its name, for policies to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// One text, for instance a namespace.
    Text(String),
    /// Several, for instance groups.
    Texts(Vec<String>),
}

impl Attribute {
    /// Its texts, of which there may be one.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Text(text) => slice::from_ref(text),
            Self::Texts(texts) => texts,
        }
    }
}

impl Caller {
    /// Names a caller: `issuer` is who vouches for the name, `subject` the name itself.
    #[must_use]
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Identity {
            issuer: issuer.into(),
            subject: subject.into(),
            proof: Proof::Nothing,
            attributes: BTreeMap::new(),
        }))
    }

    /// Says what proved the name.
    #[must_use]
    pub fn proven_by(mut self, proof: Proof) -> Self {
        Arc::make_mut(&mut self.0).proof = proof;
        self
    }

    /// Adds what a verifier knows besides the name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: Attribute) -> Self {
        Arc::make_mut(&mut self.0).attributes.insert(name.into(), value);
        self
    }

    /// Who vouches for the name, for instance `static-token`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The name itself, unique within its issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What proved the name.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.0.proof
    }

    /// What the verifier knows besides the name.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, Attribute> {
        &self.0.attributes
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.issuer() == other.issuer() && self.subject() == other.subject()
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.issuer().hash(state);
        self.subject().hash(state);
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer(), self.subject())
    }
}

/// Where the facade acts: the AWS account and Region of its own credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// AWS partition, for instance `aws`.
    pub partition: String,
    /// Account id, 12 digits.
    pub account: String,
    /// Region, for instance `eu-west-1`.
    pub region: String,
}

/// One authenticated and valid request. Cloning shares the input.
pub struct Call<Op: Operation> {
    /// Who calls.
    pub caller: Caller,
    /// The account and Region that the call acts on.
    pub target: Arc<Target>,
    /// The facade's id of the request, for who reads several logs.
    pub request_id: Option<Arc<str>>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// What the caller sent.
    pub input: Arc<Op::Input>,
}

impl<Op: Operation> Clone for Call<Op> {
    fn clone(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            target: Arc::clone(&self.target),
            request_id: self.request_id.clone(),
            deadline: self.deadline,
            input: Arc::clone(&self.input),
        }
    }
}

/// What a call that succeeded gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<Output> {
    /// RAM's answer.
    pub output: Output,
    /// When the answer was recorded, if it was served from a record.
    pub replayed: Option<crate::clock::UnixMillis>,
}

impl<Output> Answer<Output> {
    /// An answer that RAM gave just now.
    #[must_use]
    pub fn fresh(output: Output) -> Self {
        Self {
            output,
            replayed: None,
        }
    }
}
