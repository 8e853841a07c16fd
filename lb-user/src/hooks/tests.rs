//! Hooks with real processes and real connections.

mod exec;
mod mail;
mod post;

use std::time::Duration;

use super::*;

fn place() -> Place {
    Place { host: "lb1.example.com".to_owned(), instance: "test".to_owned() }
}

fn hook(call: Call) -> Hook {
    Hook {
        call,
        filter: Filter::default(),
        timeout: Duration::from_secs(5),
        tries: 1,
        limits: Limits::default(),
    }
}

fn command(arguments: &[&str]) -> Call {
    let command = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Call::Exec(Exec { command, arguments: Arguments::None })
}

fn down(backend: &str) -> Event {
    let text = format!("backend {backend} is unhealthy: connection refused");
    Event::new(Kind::BackendDown, std::time::SystemTime::UNIX_EPOCH, text)
        .with(Field::Backends, vec![backend.to_owned()])
        .with(Field::Vips, vec!["web".to_owned()])
}

/// Hooks of these names, running.
fn running(hooks: &[(&str, Hook)]) -> Hooks {
    let running = Hooks::start(place()).unwrap();
    running.follow(&hooks.iter().map(|(name, hook)| ((*name).to_owned(), hook.clone())).collect());
    running
}

fn report(hooks: &Hooks, name: &str) -> Report {
    hooks.reports().into_iter().find(|report| report.name == name).unwrap()
}

/// Waits until the report is as it should be.
async fn until(hooks: &Hooks, name: &str, is: impl Fn(&Report) -> bool) -> Report {
    for _ in 0..1000 {
        let report = report(hooks, name);
        if is(&report) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {:?}", report(hooks, name));
}

#[tokio::test]
async fn without_hooks_nothing_is_told_and_nothing_waits() {
    let hooks = Hooks::none();
    hooks.tell(down("web-1"));
    hooks.stop(Duration::from_secs(5)).await;
    assert!(hooks.reports().is_empty());
}
