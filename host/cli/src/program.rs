//! From the raw arguments to the exit code, for both faces of the command line.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use freezer_plugin::{BandwidthLimits, Isolation, apart, compiler};

use crate::args::{Args, GlobalArgs, IsolateText, RateText};
use crate::command::{Command, Detail};
use crate::compat::{self, Era};
use crate::config::environment::Environment;
use crate::config::file::ConfigFile;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::render::said::Said;
use crate::render::{Output, Style};
use crate::run::{self, Context};

/// Runs the program.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    if let [_, word, rest @ ..] = arguments {
        if word == compiler::WORD {
            return compiler::serve(rest);
        }
        if word == apart::WORD {
            return apart::serve(rest);
        }
    }
    let (program, rest) = arguments
        .split_first()
        .map_or((OsStr::new("freezer"), &[][..]), |(program, rest)| {
            (program.as_os_str(), rest)
        });
    let code = match Era::of(program) {
        Some(era) => original(era, rest),
        None => own(arguments),
    };
    ExitCode::from(code)
}

/// Our own verbs.
fn own(arguments: &[OsString]) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return unparsed(arguments, &error),
    };
    let global = args.global.clone();
    let verb = args.verb.as_ref().map_or("freezer", |verb| verb.name());
    let output = Output {
        style: if global.json { Style::Json } else { Style::Text },
        quiet: global.quiet,
        verb,
        stdout_is_content: ["dump", "completions", "man"].contains(&verb) || args.writes_to_stdout(),
        said: Said::default(),
    };
    if args.version {
        // Before anything else is read: it must be fast, and work whatever the configuration says.
        let detail = if global.verbose > 0 {
            Detail::Full
        } else {
            Detail::Short
        };
        return ended(&output, run::version(&output, detail));
    }
    let judged = Config::load(Environment::read(), global.config.as_deref()).and_then(|config| {
        config
            .file
            .warnings
            .iter()
            .for_each(|warning| output.warn(warning));
        let command = config.judge(args)?;
        Ok((config, command))
    });
    match judged {
        Ok((config, command)) => execute(config, command, &global, output, None),
        Err(failure) => output.fail(&failure),
    }
}

/// The original's options.
fn original(era: Era, arguments: &[OsString]) -> u8 {
    let output = |quiet| Output {
        style: Style::Original(era),
        quiet,
        verb: era.program(),
        stdout_is_content: false,
        said: Said::default(),
    };
    let environment = Environment::read();
    match compat::parse(era, arguments, environment.clone()) {
        Ok(original) => {
            let output = output(original.global.quiet);
            original.warnings.iter().for_each(|warning| output.warn(warning));
            let config = Config {
                environment,
                file: ConfigFile {
                    path: original.config_file,
                    ..ConfigFile::default()
                },
                zone: jiff::tz::TimeZone::system(),
            };
            execute(
                config,
                original.command,
                &original.global,
                output,
                original.log_file.as_deref(),
            )
        }
        Err(refused) => {
            let output = output(refused.quiet);
            refused.warnings.iter().for_each(|warning| output.warn(warning));
            output.fail(&refused.failure)
        }
    }
}

/// Does a judged command and answers the exit code.
fn execute(
    config: Config,
    command: Command,
    global: &GlobalArgs,
    output: Output,
    log_file: Option<&Path>,
) -> u8 {
    if let Err(failure) = log::start(global, log_file) {
        return output.fail(&failure);
    }
    for place in global.plugins_dir.iter().filter(|place| !place.is_dir()) {
        output.warn(&format!("--plugins-dir {} is no directory", place.display()));
    }
    let defaults = &config.file.defaults;
    // Before any thread is made, since threads and children inherit it.
    let refused = freezer_agent::set_priority(config::exec::priority(&global.priority, defaults));
    refused.iter().for_each(|line| output.warn(line));
    let limit = |rate: Option<RateText>| rate.and_then(|rate| rate.0);
    let bandwidth = BandwidthLimits {
        upload: limit(global.upload_limit.or(defaults.upload_limit)),
        download: limit(global.download_limit.or(defaults.download_limit)),
    };
    let context = Context {
        bandwidth,
        plugin_dirs: config.plugin_dirs(&global.plugins_dir),
        isolation: isolation(global.isolate.or(defaults.isolate)),
        config,
        output,
        usage: std::sync::Mutex::default(),
    };
    let result = run::run(command, &context);
    ended(&context.output, result)
}

/// Which plugins run in processes of their own, as far as the user has a say in it.
fn isolation(asked: Option<IsolateText>) -> Isolation {
    match asked {
        None | Some(IsolateText::None) => Isolation::None,
        Some(IsolateText::Foreign) => Isolation::Foreign,
        Some(IsolateText::All) => Isolation::All,
    }
}

/// The exit code of a result; a failure is told first.
fn ended(output: &Output, result: Result<Exit, Failure>) -> u8 {
    match (result, output.style) {
        (Ok(exit), Style::Original(_)) => compat::exit_code(exit),
        (Ok(exit), _) => exit.code(),
        // The original's code 2 is for its own command line; what a plugin finds wrong is a failed run.
        (Err(failure), Style::Original(_)) if failure.exit == Exit::Usage => output.fail(&Failure {
            exit: Exit::Failed,
            ..failure
        }),
        (Err(failure), _) => output.fail(&failure),
    }
}

/// Arguments that are no command: help, or a mistake with its advice.
fn unparsed(arguments: &[OsString], error: &clap::Error) -> u8 {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && arguments.iter().any(|argument| argument == "--json") {
        let output = Output {
            style: Style::Json,
            quiet: false,
            verb: "freezer",
            stdout_is_content: false,
            said: Said::default(),
        };
        return output.fail(&in_our_words(error));
    }
    // Nobody is left to tell when the reader is gone.
    drop(error.print());
    if asked && arguments.get(1).is_some_and(|verb| verb == "backup") {
        plugin_help();
    }
    if asked {
        Exit::Ok.code()
    } else {
        Exit::Usage.code()
    }
}

/// The settings of the installed plugins, below the help of the verb that takes them. Looks at the plugins' files,
/// loads none.
fn plugin_help() {
    let Ok(config) = Config::load(Environment::read(), None) else {
        return;
    };
    let host = freezer_plugin::PluginHost::new(freezer_plugin::HostConfig {
        plugin_dirs: config.plugin_dirs(&[]),
        ..freezer_plugin::HostConfig::default()
    });
    let Ok(host) = host else { return };
    let text = crate::render::plugins::help(&host.discover());
    // As with the help itself, nobody is left to tell.
    drop(std::io::Write::write_all(
        &mut std::io::stdout().lock(),
        text.as_bytes(),
    ));
}

/// clap's text cut into message and advice.
fn in_our_words(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_default();
    let mut failure = Failure::usage(message.strip_prefix("error: ").unwrap_or(message));
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) => failure = failure.advise(tip),
            None if line.starts_with("Usage:") => return failure.advise(line),
            None if line.starts_with("For more") => {}
            None => failure = failure.because(line),
        }
    }
    failure
}
