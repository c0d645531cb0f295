//! The rules for what a request may say, one file per kind of value. They need no state, only the settings.

mod arn;
mod name;
mod permission;
mod principal;
mod resource;
mod source;
mod tag;

pub(crate) use self::{
    arn::share as share_arn,
    name::check as name,
    permission::check as permissions,
    principal::{Principal, check as principals},
    resource::check as resources,
    source::check as sources,
    tag::{MOST_TAGS, Tag, check as tags},
};
