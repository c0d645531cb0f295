//! Compiles the proto files: the Rust types and service, and the descriptor set that reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("ramfacade/v1/resource_share_service.proto")?;

    // The encoded form keeps custom options, which the decoded set would drop.
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells a build script its folder this way"
    )]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_client(true)
        // Ours refuses a second message on a unary method, and does not repeat bytes that it cannot decode.
        .codec_path("crate::api::codec::ProstCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
