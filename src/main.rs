//! The command line entry: see `ram_facade::cli`.

fn main() -> std::process::ExitCode {
    ram_facade::cli::main()
}
