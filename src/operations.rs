//! The list of operations: each is a file below and a line here.

pub mod create_resource_share;
pub mod list_resource_types;

use tonic::{Request, Response, Status};

use crate::{
    api::Api,
    operation::{Operation, Sort},
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
    };
}

rpcs! {
    create => create_resource_share::CreateResourceShare,
    list_resource_types => list_resource_types::ListResourceTypes,
}
