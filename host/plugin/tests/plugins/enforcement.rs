//! Each kind of grant by itself: refused without it, let through with it, refused with what is nearly it; and every decision is in the
//! audit log. A kind that is missing here doesn't compile.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use freezer_pipeline::store::Existing;
use freezer_plugin::grants::GrantKind;
use freezer_plugin::{BackupRequest, PluginKind};

use crate::hostile::{Answering, FINE};
use crate::scene::Scene;

/// One kind of grant.
struct Case {
    /// What the plugin asks for.
    ask: String,
    /// The line that grants it.
    line: String,
    /// Lines that grant something else.
    near: Vec<String>,
    /// The request, as the refusal and the audit log name it.
    request: String,
}

/// What is asked for: a directory, and a place at which somebody answers.
struct Things {
    root: String,
    place: String,
    port: u16,
    tool: String,
}

fn files_line(path: &str) -> String {
    format!("files = [{{ root = {path:?}, access = \"read-only\" }}]")
}

fn of_files(root: &str) -> Case {
    Case {
        ask: format!("asks_for_a_directory {root}"),
        line: files_line(root),
        near: vec![
            files_line(&format!("{root}2")),
            files_line(&format!("{root}/sub")),
            files_line(&root[..root.len() - 1]),
            files_line(&root[1..]),
            files_line(&format!("{root}/../granted")),
            files_line("named"),
            format!("snapshots = [{root:?}]"),
        ],
        request: format!("to open directory {root:?} read-only"),
    }
}

fn of_http(place: &str, port: u16) -> Case {
    Case {
        ask: format!("asks_for_an_origin http://{place}/x"),
        line: format!("http = [\"http://{place}\"]"),
        near: vec![
            format!("http = [\"https://{place}\"]"),
            format!("http = [\"http://127.0.0.1:{}\"]", port ^ 1),
            "http = [\"http://127.0.0.1\"]".to_owned(),
            format!("http = [\"http://localhost:{port}\"]"),
            format!("http = [\"http://{place}@example.org\"]"),
            format!("http = [\"site:https://{place}\"]"),
            format!("tcp = [{place:?}]"),
        ],
        request: format!("to connect to \"http://{place}\" by http"),
    }
}

fn of_a_network(sin: &str, key: &str, place: &str, port: u16) -> Case {
    Case {
        ask: format!("{sin} {place}"),
        line: format!("{key} = [{place:?}]"),
        near: vec![
            format!("{key} = [\"127.0.0.1:{}\"]", port ^ 1),
            format!("{key} = [\"localhost:{port}\"]"),
            format!("{key} = [\"127.0.0.1\"]"),
            format!("{key} = [\"*:{port}\"]"),
            format!("{key} = [\"{place} \"]"),
            format!("http = [\"http://{place}\"]"),
        ],
        request: format!("to connect to {place:?} by {key}"),
    }
}

fn of_processes(tool: &str) -> Case {
    Case {
        ask: format!("asks_for_a_program {tool} --out x"),
        line: format!("processes = [{{ program = {tool:?}, arguments = \"--out *\" }}]"),
        near: vec![
            format!("processes = [{{ program = {tool:?} }}]"),
            format!("processes = [{{ program = {tool:?}, arguments = \"*\" }}]"),
            format!("processes = [{{ program = {tool:?}, arguments = \"--out y\" }}]"),
            format!("processes = [{{ program = {tool:?}, arguments = \"--out * *\" }}]"),
            format!("processes = [{{ program = \"{tool}2\", arguments = \"--out *\" }}]"),
            "processes = [{ program = \"tool\", arguments = \"--out *\" }]".to_owned(),
        ],
        request: format!("to run {tool:?} with arguments \"--out x\""),
    }
}

fn of_snapshots(root: &str) -> Case {
    Case {
        ask: root.to_owned(),
        line: format!("snapshots = [{root:?}]"),
        near: vec![
            format!("snapshots = [\"{root}2\"]"),
            format!("snapshots = [\"{root}/sub\"]"),
            "snapshots = [\"named\"]".to_owned(),
            files_line(root),
        ],
        request: format!("to make a snapshot of {root:?}"),
    }
}

fn case(kind: GrantKind, things: &Things) -> Case {
    let Things {
        root,
        place,
        port,
        tool,
    } = things;
    match kind {
        GrantKind::Files => of_files(root),
        GrantKind::Http => of_http(place, *port),
        GrantKind::Tcp => of_a_network("asks_for_a_place", "tcp", place, *port),
        GrantKind::Ssh => of_a_network("asks_for_a_machine", "ssh", place, *port),
        GrantKind::Sql => of_a_network("asks_for_a_database", "sql", place, *port),
        GrantKind::Processes => of_processes(tool),
        GrantKind::Snapshots => of_snapshots(root),
        GrantKind::Secrets => Case {
            ask: "asks_for_a_secret".to_owned(),
            line: "secrets = [\"password\"]".to_owned(),
            near: vec!["secrets = []".to_owned(), "bodies = true".to_owned()],
            request: "to read the secret \"password\"".to_owned(),
        },
        GrantKind::Bodies => Case {
            ask: "peeks_at_the_backup".to_owned(),
            line: "bodies = true".to_owned(),
            near: vec!["bodies = false".to_owned(), "secrets = [\"password\"]".to_owned()],
            request: "to read the backup's own bytes".to_owned(),
        },
    }
}

/// Asks; what the error says, if there is one.
fn ask(kind: GrantKind, scene: &Scene, ask: &str) -> Result<(), String> {
    match kind {
        GrantKind::Snapshots => {
            let plugin = scene.host.find(PluginKind::Mode, "hostile-mode").unwrap();
            let request = BackupRequest {
                path: Some(format!("/freezes_what_was_not_granted/={ask}").into()),
                ..BackupRequest::default()
            };
            let prepared = scene.host.prepare_backup(&plugin, request, &scene.run.run);
            prepared.map(drop).map_err(|error| error.to_string())
        }
        GrantKind::Bodies => {
            let bytes = Arc::new(b"the backup's own".to_vec());
            let put = scene.store().put(ask, bytes, Existing::Replace);
            put.map_err(|error| error.message)
        }
        _ => {
            let asked = scene.store().stat(ask);
            asked.map(drop).map_err(|error| error.message)
        }
    }
}

fn plugin(kind: GrantKind) -> &'static str {
    match kind {
        GrantKind::Snapshots => "hostile-mode",
        _ => "hostile",
    }
}

fn scene(kind: GrantKind, line: &str) -> Scene {
    match kind {
        GrantKind::Snapshots => Scene::granting_mode(line),
        _ => Scene::granting(|_, _| line.to_owned()),
    }
}

#[track_caller]
fn audited(scene: &Scene, kind: GrantKind, request: &str, allowed: bool) {
    let found = scene.audited().iter().any(|line| {
        line["plugin"] == plugin(kind)
            && line["grant"] == kind.key()
            && line["request"] == request
            && line["allowed"] == allowed
    });
    assert!(found, "{kind} {request:?} {allowed}: {:#?}", scene.audited());
}

#[track_caller]
fn enforced(kind: GrantKind) {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("granted");
    fs::create_dir_all(root.join("sub")).unwrap();
    let tool = temp.path().join("tool");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Answering::start((Ipv4Addr::LOCALHOST, 0).into(), FINE.to_owned());
    let text = |path: &Path| path.display().to_string();
    let things = Things {
        root: text(&root),
        place: server.address.to_string(),
        port: server.address.port(),
        tool: text(&tool),
    };
    let case = case(kind, &things);
    let isnt = format!("plugin {} isn't allowed {}; ", plugin(kind), case.request);
    for line in std::iter::once("").chain(case.near.iter().map(String::as_str)) {
        let scene = scene(kind, line);
        let error = ask(kind, &scene, &case.ask).expect_err(line);
        assert!(error.contains(&isnt), "{line}: {error}");
        assert!(
            error.contains("put this line into grants.toml below ["),
            "{line}: {error}"
        );
        audited(&scene, kind, &case.request, false);
        assert_eq!(server.count(), 0, "{line}");
    }
    let scene = scene(kind, &case.line);
    // What is let through may fail for its own reasons: nobody speaks SSH there, and not every file system can be frozen.
    if let Err(error) = ask(kind, &scene, &case.ask) {
        let elsewhere = matches!(kind, GrantKind::Ssh | GrantKind::Sql | GrantKind::Snapshots);
        assert!(elsewhere && !error.contains("isn't allowed"), "{error}");
    }
    audited(&scene, kind, &case.request, true);
}

macro_rules! kinds {
    ($($name:ident $kind:ident,)*) => {
        $(#[test] fn $name() { enforced(GrantKind::$kind) })*

        #[test]
        fn all_kinds_are_here() {
            assert_eq!([$(GrantKind::$kind),*], GrantKind::ALL);
        }
    };
}

kinds! {
    files Files,
    http Http,
    tcp Tcp,
    ssh Ssh,
    sql Sql,
    processes Processes,
    snapshots Snapshots,
    secrets Secrets,
    bodies Bodies,
}
