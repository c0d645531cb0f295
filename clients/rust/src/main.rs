//! Creates an empty resource share, and says what to do when that fails.

use std::{env, error::Error, fs, process::ExitCode, time::Duration};

use ram_facade_client::{
    RETRY, Refusal, connect, create, endpoint, next_step, v1::CreateResourceShareRequest,
};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let address = env::var("FACADE_ADDRESS").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let ca = env::var("FACADE_CA_FILE")
        .ok()
        .map(fs::read_to_string)
        .transpose()?;
    let service = connect(
        &endpoint(&address, ca.as_deref())?,
        env::var("FACADE_TOKEN").ok().as_deref(),
    )?;

    let mut request = CreateResourceShareRequest {
        name: "demo".to_owned(),
        allow_external_principals: Some(false),
        ..CreateResourceShareRequest::default()
    };
    match create(&service, &mut request, Duration::from_secs(30), &RETRY).await {
        Ok(answer) => {
            println!("{}", answer.resource_share.unwrap_or_default().resource_share_arn);
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            let refusal = Refusal::from(status);
            let (code, reason) = (refusal.code, refusal.reason());
            eprintln!("{code:?} {reason}: {}: {}", refusal.message, next_step(&refusal));
            for (field, rule) in refusal.fields() {
                eprintln!("  {field} {rule}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
