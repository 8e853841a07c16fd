//! `check-fit`: whether this host can forward, for keepalived's `vrrp_script` and the like: by the exit code.

use crate::api::client::Client;
use crate::api::types::Fitness;
use crate::cli::args::CheckFitArgs;
use crate::cli::error::CliError;

/// A daemon that does not answer cannot be said to be fit.
pub(in crate::cli) async fn run(args: &CheckFitArgs) -> Result<(), CliError> {
    let client = Client::new(args.daemon.socket.clone()).with_timeout(args.timeout);
    let fitness = match client.get("/v1/fitness").await.and_then(|reply| reply.parse()) {
        Ok(fitness) => fitness,
        Err(error) => Fitness { fit: false, reasons: vec![error.to_string()] },
    };
    verdict(fitness, args.quiet)
}

fn verdict(fitness: Fitness, quiet: bool) -> Result<(), CliError> {
    if fitness.fit {
        return Ok(());
    }
    Err(CliError::Unfit((!quiet).then(|| format!("not fit: {}", fitness.reasons.join("; ")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_go_to_standard_error_and_the_exit_code_is_one() {
        assert!(verdict(Fitness { fit: true, reasons: Vec::new() }, false).is_ok());
        let unfit = Fitness { fit: false, reasons: vec!["one".to_owned(), "two".to_owned()] };
        let error = verdict(unfit.clone(), false).expect_err("unfit");
        assert_eq!((error.report().as_str(), error.exit_code()), ("ferrolev: not fit: one; two", 1));
        let error = verdict(unfit, true).expect_err("unfit");
        assert_eq!((error.report().as_str(), error.exit_code()), ("", 1));
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_answer_is_not_fit() {
        let daemon = crate::cli::args::SocketArgs { socket: "/nowhere/api.sock".into() };
        let args = CheckFitArgs { timeout: std::time::Duration::from_secs(1), quiet: false, daemon };
        let error = run(&args).await.expect_err("nobody there");
        assert_eq!(error.exit_code(), 1);
        assert!(
            error.report().starts_with("ferrolev: not fit: cannot reach the daemon"),
            "{}",
            error.report()
        );
    }
}
