//! What a policy may look at, and an audit line shows.

/// The parts of a request that decide who gets access to what, with AWS's defaults applied.
///
/// The texts are the caller's own; whoever reads a part out of one takes it apart by [`crate::rules`]. A member that the
/// operation does not have is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Name of the share.
    pub name: &'a str,
    /// ARNs of the resources to share.
    pub resource_arns: &'a [String],
    /// Who the share is for.
    pub principals: &'a [String],
    /// Whether principals outside the organization may be among them, now or later.
    pub allow_external_principals: bool,
    /// Whether an account that leaves the organization keeps its access.
    pub retain_on_leave: bool,
    /// Tags of the share, as (key, value).
    pub tags: Vec<(&'a str, &'a str)>,
    /// ARNs of RAM's managed permissions.
    pub permission_arns: &'a [String],
    /// From where services that are principals may use the share.
    pub sources: &'a [String],
}
