//! Hooks of a real daemon: what a command, an HTTP receiver and a person at the status hear when a backend dies and comes back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use lb_user::api::types::BackendState;
use tests::lab::{Daemon, DaemonConfig, Network, Shape, VIP4, privileged, wait_until};

const LONG: Duration = Duration::from_secs(20);
const CHECK: &str = "[[check]]\nname = \"own\"\ntype = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"500ms\"";

fn state(daemon: &Daemon, name: &str, state: BackendState) {
    wait_until(&format!("{name} is {state:?}"), LONG, || {
        let status = daemon.status()?;
        let dest = status.vips[0].backends.iter().find(|dest| dest.name == name).unwrap().clone();
        anyhow::ensure!(dest.state == state, "{dest:?}\n{}", daemon.log());
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_command_and_an_http_receiver_hear_of_a_backend_that_dies_and_comes_back() {
    if !privileged() {
        return;
    }
    let mut network = Network::new(Shape { balancers: 1, backends: 2 }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let (told, posts) = mpsc::channel();
    // In the balancer's namespace, where the daemon is.
    let listener = network.balancers[0].inside(|| Ok(std::net::TcpListener::bind("127.0.0.1:9999")?));
    let listener = listener.unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = vec![0; 8192];
            let read = stream.read(&mut request).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            if told.send(String::from_utf8_lossy(&request[..read]).into_owned()).is_err() {
                return;
            }
        }
    });
    let script = format!("echo \\\"$FERROLEV_EVENT $FERROLEV_BACKENDS $1\\\" >> {}", out.display());
    let hooks = format!(
        "[[hook]]\nname = \"log\"\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\", \"hook\", \"{{vips}}\"]\n\
         [[hook]]\nname = \"post\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9999/x\"\non = [\"backend_down\"]"
    );
    network.balancers[0].ip("link set lo up\n").unwrap();
    let mut config = DaemonConfig::default().general_line(CHECK).general_line(&hooks);
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config.vip("web", VIP4, 80, "tcp", &["web-1", "web-2"]).vip_line("check = \"own\"");
    let mut daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    state(&daemon, "web-1", BackendState::Healthy);
    state(&daemon, "web-2", BackendState::Healthy);
    let Network { backends, lab, .. } = &mut network;
    backends[1].kill_nginx().unwrap();
    state(&daemon, "web-2", BackendState::Unhealthy);
    let post = posts.recv_timeout(LONG).unwrap();
    assert!(
        post.starts_with("POST /x HTTP/1.1\r\n") && post.contains("\"event\":\"backend_down\""),
        "{post}"
    );
    backends[1].revive_nginx(lab).unwrap();
    state(&daemon, "web-2", BackendState::Healthy);
    daemon.terminate().unwrap();
    let heard = std::fs::read_to_string(&out).unwrap();
    assert_eq!(
        heard, "backend_down web-2 web\nbackend_up web-2 web\n",
        "what is told is told when the daemon has ended"
    );
    assert!(posts.try_recv().is_err(), "nobody has asked for more");
}
