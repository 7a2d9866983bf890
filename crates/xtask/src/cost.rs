//! What it costs to run a program on our stack: `cargo xtask run-cost`.
//!
//! The same two programs speak over a veth pair with the kernel's TCP on both sides, and over a TUN
//! device with one of them under `estab run`. The two take turns, and a ratio is the median of the ratios
//! of each round.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interop::bench::{Bench, Programs};
use crate::interop::needs;
use crate::interop::way::V4_TUN;
use crate::programs::{NEEDS, PRELUDE, Stage};
use crate::source;

const USAGE: &str = "\
cargo xtask run-cost [--rounds N] [NAME...]

  --rounds N   so many runs of each, 7 unless told otherwise
  NAME         only these rows

All rows in at least 5 rounds write docs/src/run-cost.md.
";

const PAGE: &str = "docs/src/run-cost.md";
const LEAST_ROUNDS: usize = 5;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A server and a client that prints a number, the more the better.
struct Row {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    server: &'static str,
    client: &'static str,
    /// It is the client that runs on our stack.
    client_is_ours: bool,
}

const fn row(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    server: &'static str,
    client: &'static str,
) -> Row {
    Row { name, title, unit, server, client, client_is_ours: false }
}

const ROWS: &[Row] = &[
    row("nginx", "nginx, keep-alive, 32 connections", "requests/s", NGINX, KEEP_ALIVE),
    row("nginx-close", "nginx, a connection for each request", "requests/s", NGINX, CLOSE),
    row("redis", "redis GET, 20 clients", "requests/s", REDIS, GET),
    row(
        "redis-pipeline",
        "redis GET, 20 clients, 16 requests at once",
        "requests/s",
        REDIS,
        PIPELINE,
    ),
    row("iperf3-in", "iperf3 to our stack", "Gbit/s", IPERF3, TO_SERVER),
    row("iperf3-out", "iperf3 from our stack", "Gbit/s", IPERF3, FROM_SERVER),
    row("byte", "a byte there and back, server on our stack", "per s", ECHO, BYTES),
    row("accept", "connect, a byte, close, server on our stack", "per s", ECHO, CONNECTIONS),
    Row {
        client_is_ours: true,
        ..row("connect", "connect, a byte, close, client on our stack", "per s", ECHO, CONNECTIONS)
    },
];

const NGINX: &str = r#"
cat > nginx.conf <<END
daemon off;
pid nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen $at:7000; root .; }
}
END
echo a page > page
exec nginx -p "$PWD/" -c nginx.conf -e error.log"#;

const KEEP_ALIVE: &str =
    "wrk -t 1 -c 32 -d 1.5s http://$at:7000/page | awk '/Requests.sec/ { print $2 }'";

const CLOSE: &str = "wrk -t 1 -c 16 -d 1.5s -H 'Connection: close' http://$at:7000/page |
    awk '/Requests.sec/ { print $2 }'";

const REDIS: &str = "exec redis-server --bind $at --port 7000 --protected-mode no --save '' > log";

const GET: &str = "redis-benchmark -h $at -p 7000 -t get -n 50000 -c 20 --csv 2> warnings |
    awk -F '\"' '/GET/ { print $4 }'";

const PIPELINE: &str =
    "redis-benchmark -h $at -p 7000 -t get -n 500000 -c 20 -P 16 --csv 2> warnings |
    awk -F '\"' '/GET/ { print $4 }'";

const IPERF3: &str = "exec iperf3 -s -p 7000 -B $at > log";

const TO_SERVER: &str = "iperf3 -c $at -p 7000 -t 1.5 -f g | awk '/receiver/ { print $7 }'";

const FROM_SERVER: &str = "iperf3 -c $at -p 7000 -t 1.5 -R -f g | awk '/receiver/ { print $7 }'";

const ECHO: &str = "exec threaded-server $at 7000";
const BYTES: &str = "visits byte $at 7000 1.5";
const CONNECTIONS: &str = "visits connect $at 7000 1.5";

/// The server in a network of its own, joined to the client's by a veth pair.
const NATIVELY: &str = "ip link set lo up
    unshare -n bash -c 'until ip link show kernel1 > /dev/null 2>&1; do sleep 0.02; done
        ip link set lo up; ip address add 10.77.0.2/24 dev kernel1; ip link set kernel1 up
        exec bash server.sh' &
    sleep 0.2
    ip link add kernel0 type veth peer name kernel1 netns $!
    ip address add 10.77.0.1/24 dev kernel0
    ip link set kernel0 up
    bash client.sh; status=$?; kill $!; wait; exit $status";

/// Rates by row, in the order of the rounds.
type Rates = BTreeMap<&'static str, Vec<Round>>;

/// What one round brought.
#[derive(Clone, Copy)]
struct Round {
    kernel: f64,
    ours: f64,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut rounds, mut names) = (7, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().context("--rounds how many?")?.parse()?,
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(());
            }
            name if ROWS.iter().any(|row| row.name == name) => names.push(name),
            other => bail!("{other}: no such row or option\n{USAGE}"),
        }
    }
    needs::install(NEEDS)?;
    Stage::prepare()?;
    let rates = measure_all(rounds, &names);
    Stage::remove();
    let table = table(&rates?)?;
    print!("{table}");
    if names.is_empty() && rounds >= LEAST_ROUNDS {
        fs::write(source::root().join(PAGE), page(&table, rounds)?)?;
        println!("wrote {PAGE}");
    }
    Ok(())
}

/// Runs the rows with these names, all without any.
fn measure_all(rounds: usize, names: &[&str]) -> Result<Rates> {
    let programs = Programs::build()?;
    let wanted = |row: &&Row| names.is_empty() || names.contains(&row.name);
    let mut rates = Rates::new();
    for round in 0..rounds {
        for row in ROWS.iter().filter(wanted) {
            let place =
                |how: &str| programs.bench(&format!("{}-{how}-{round}", row.name), V4_TUN, LIMIT);
            let kernel = measure(&place("kernel")?, row, false)?;
            let ours = measure(&place("ours")?, row, true)?;
            println!("{} {kernel:.1} {ours:.1}", row.name);
            rates.entry(row.name).or_default().push(Round { kernel, ours });
        }
    }
    Ok(rates)
}

/// The client's number.
fn measure(bench: &Bench, row: &Row, ours: bool) -> Result<f64> {
    let stage = Stage::get()?;
    let at = if ours && row.client_is_ours { "10.77.0.1" } else { "10.77.0.2" };
    let script = |text: &str| format!("at={at}\n{PRELUDE}\n{text}\n");
    bench.write("server.sh", script(row.server))?;
    bench.write("client.sh", script(&format!("ready 7000\n{}", row.client)))?;
    let words: &[&str] = match (ours, row.client_is_ours) {
        (false, _) => &["unshare", "-Unc", "--keep-caps", "bash", "-c", NATIVELY],
        (true, false) => {
            &["estab", "run", "--peer", "exec bash client.sh", "--", "bash", "server.sh"]
        }
        (true, true) => {
            &["estab", "run", "--peer", "exec bash server.sh", "--", "bash", "client.sh"]
        }
    };
    let outcome = bench.finish(stage.as_user(bench, words)?)?.success()?;
    let number = outcome.out.trim();
    number.parse().with_context(|| format!("{}: no number: {number:?}", row.name))
}

fn table(rates: &Rates) -> Result<String> {
    let mut text =
        "| what | unit | kernel | `estab run` | ratio |\n|---|---|---:|---:|---:|\n".to_owned();
    for row in ROWS {
        let Some(rounds) = rates.get(row.name) else { continue };
        let of = |what: fn(&Round) -> f64| median(rounds.iter().map(what).collect());
        let ratio = of(|round| round.ours / round.kernel);
        let (kernel, ours) = (short(of(|round| round.kernel)), short(of(|round| round.ours)));
        writeln!(text, "| {} | {} | {kernel} | {ours} | {ratio:.2} |", row.title, row.unit)?;
    }
    Ok(text)
}

fn page(table: &str, rounds: usize) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "<!-- Measured and written by `cargo xtask run-cost`. -->\n\
         # What running a program on the stack costs\n\n\
         The same two programs speak over a veth pair with the kernel's TCP on both sides, and over a TUN \
         device with one of the two under `estab run`, on a machine of {cores} cores with Linux {}. The \
         program, the stack and the peer share the cores as the scheduler likes. The two take turns; each \
         number is the median of {rounds} runs of about 1.5 s, a ratio the median of the rounds' ratios.\n\n\
         {table}",
        kernel.trim()
    ))
}

fn short(rate: f64) -> String {
    if rate >= 10_000.0 { format!("{:.0} k", rate / 1000.0) } else { format!("{rate:.1}") }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
