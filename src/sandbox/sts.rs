//! The one operation of STS that a client of RAM needs: `GetCallerIdentity`, in the query protocol.

use uuid::Uuid;

use super::{Settings, answer::Answer};

/// The operation's name.
pub(super) const NAME: &str = "GetCallerIdentity";

/// Whether a form asks for it.
pub(super) fn asks_for_identity(form: &[u8]) -> bool {
    form.split(|byte| *byte == b'&')
        .any(|pair| pair == b"Action=GetCallerIdentity")
}

/// The caller, which is always the same user of the account.
pub(super) fn identity(settings: &Settings, request_id: Uuid) -> Answer {
    let (account, partition) = (&settings.account, settings.partition());
    Answer::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <GetCallerIdentityResult>\
             <Arn>arn:{partition}:iam::{account}:user/sandbox</Arn>\
             <UserId>AIDASANDBOX0EXAMPLE00</UserId>\
             <Account>{account}</Account>\
             </GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        ),
    )
}

/// An error in the query protocol. `code` and `message` are constants, so nothing needs escaping.
pub(super) fn error(status: u16, code: &'static str, message: &'static str, request_id: Uuid) -> Answer {
    Answer::xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>{request_id}</RequestId>\
             </ErrorResponse>"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_is_found_wherever_it_stands() {
        assert!(asks_for_identity(b"Action=GetCallerIdentity&Version=2011-06-15"));
        assert!(asks_for_identity(b"Version=2011-06-15&Action=GetCallerIdentity"));
        assert!(!asks_for_identity(b"Action=AssumeRole"));
        assert!(!asks_for_identity(b""));
    }
}
