//! What a team would write by hand: a tonic handler that calls RAM through the AWS SDK and maps the answer.
//!
//! It authenticates nobody, decides nothing, remembers nothing, repeats nothing and keeps no record.

use std::time::SystemTime;

use aws_config::{BehaviorVersion, retry::RetryConfig};
use aws_sdk_ram::{Client, types};
use ram_facade::pb::v1::{
    CreateResourceShareRequest, CreateResourceShareResponse, ListResourceTypesRequest,
    ListResourceTypesResponse, ResourceShare, ResourceShareFeatureSet, ResourceShareStatus, Tag,
    resource_share_service_server::{ResourceShareService, ResourceShareServiceServer},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// Serves until it is killed.
pub(crate) async fn serve(ram: &str) {
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(ram)
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = ResourceShareServiceServer::new(Direct(Client::new(&sdk)));
    let server = Server::builder().add_service(service);
    server.serve_with_incoming(incoming).await.unwrap();
}

struct Direct(Client);

#[tonic::async_trait]
impl ResourceShareService for Direct {
    async fn create(
        &self,
        request: Request<CreateResourceShareRequest>,
    ) -> Result<Response<CreateResourceShareResponse>, Status> {
        let request = request.into_inner();
        let tags = request.tags.iter();
        let tags = tags.map(|tag| types::Tag::builder().key(&tag.key).value(&tag.value).build());
        let output = self
            .0
            .create_resource_share()
            .name(request.name)
            .set_resource_arns(Some(request.resource_arns))
            .set_principals(Some(request.principals))
            .set_tags(Some(tags.collect()))
            .set_allow_external_principals(request.allow_external_principals)
            .client_token(&request.client_token)
            .send()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let share = output
            .resource_share
            .ok_or_else(|| Status::internal("no share"))?;
        Ok(Response::new(CreateResourceShareResponse {
            resource_share: Some(mapped(share)),
            client_token: request.client_token,
        }))
    }

    async fn list_resource_types(
        &self,
        _: Request<ListResourceTypesRequest>,
    ) -> Result<Response<ListResourceTypesResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

fn mapped(share: types::ResourceShare) -> ResourceShare {
    let status = share.status.as_ref().map_or("", |status| status.as_str());
    let status = ResourceShareStatus::from_str_name(&format!("RESOURCE_SHARE_STATUS_{status}"));
    let set = share.feature_set.as_ref().map_or("", |set| set.as_str());
    let set = ResourceShareFeatureSet::from_str_name(&format!("RESOURCE_SHARE_FEATURE_SET_{set}"));
    let time = |time: aws_smithy_types::DateTime| SystemTime::try_from(time).ok().map(Into::into);
    let tag = |tag: types::Tag| Tag {
        key: tag.key.unwrap_or_default(),
        value: tag.value.unwrap_or_default(),
    };
    ResourceShare {
        resource_share_arn: share.resource_share_arn.unwrap_or_default(),
        name: share.name.unwrap_or_default(),
        owning_account_id: share.owning_account_id.unwrap_or_default(),
        allow_external_principals: share.allow_external_principals,
        status: status.unwrap_or_default().into(),
        status_message: share.status_message.unwrap_or_default(),
        tags: share.tags.unwrap_or_default().into_iter().map(tag).collect(),
        creation_time: share.creation_time.and_then(time),
        last_updated_time: share.last_updated_time.and_then(time),
        feature_set: set.unwrap_or_default().into(),
        ..ResourceShare::default()
    }
}
