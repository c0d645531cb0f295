//! The list of operations: each is a file below and a line here.

pub mod create_resource_share;
pub mod list_resource_types;

use prost::{DecodeError, Message};
use tonic::{Request, Response, Status};
use tonic_types::FieldViolation;

use crate::{
    api::Api,
    operation::{Facts, Operation, Sort},
    pb::v1::resource_share_service_server::ResourceShareService,
};

/// Connects each rpc of the service to its operation, and lists the operations.
macro_rules! rpcs {
    ($($rpc:ident => $op:ty,)*) => {
        #[tonic::async_trait]
        impl ResourceShareService for Api {
            $(async fn $rpc(
                &self,
                request: Request<<$op as Operation>::Input>,
            ) -> Result<Response<<$op as Operation>::Output>, Status> {
                self.unary::<$op>(request).await
            })*
        }

        /// Every operation, for what speaks of them without calling them.
        pub const ALL: &[Sort] = &[
            $(Sort {
                name: <$op as Operation>::NAME,
                reads_only: <$op as Operation>::READS_ONLY,
            },)*
        ];

        /// Decodes a request of the named operation and shows its violations and its facts. What is no operation has none.
        ///
        /// # Errors
        /// If the bytes are no message.
        pub fn describe(
            operation: &str,
            request: &[u8],
            look: &mut dyn FnMut(Vec<FieldViolation>, Facts<'_>),
        ) -> Result<(), DecodeError> {
            $(if operation == <$op as Operation>::NAME {
                let input = <$op as Operation>::Input::decode(request)?;
                look(<$op as Operation>::validate(&input), <$op as Operation>::describe(&input));
            })*
            Ok(())
        }
    };
}

rpcs! {
    create => create_resource_share::CreateResourceShare,
    list_resource_types => list_resource_types::ListResourceTypes,
}
