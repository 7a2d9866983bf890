//! Pages and files: curl from our server, our client from other servers.

use anyhow::{Result, ensure};

use super::Case;
use super::bench::Bench;
use super::way::{EVERY_LINK, TWO};

/// What a bad link does.
const BAD: [&str; 6] = ["--loss", "2%", "--delay", "5ms", "--reorder", "2%"];

/// What a very bad link does: 10 MB must still pass within a minute.
const VERY_BAD: [&str; 6] = ["--loss", "5%", "--delay", "10ms", "--reorder", "5%"];

/// A server's configuration without anything of the system's.
const NGINX: &str = "\
user root root;
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen ADDRESS:8080; root .; }
}
";

/// A page over every kind of link.
pub(super) fn pages() -> Vec<Case> {
    vec![
        Case::new("page-one-listener-both-families", 15, page_of_both_families),
        Case::over_every("page", 15, page).over(EVERY_LINK),
    ]
}

/// Files over good and bad links, compared by their SHA-256.
pub(super) fn files() -> Vec<Case> {
    vec![
        Case::over_every("file-10mb-very-bad-link", 75, |bench| file(bench, 10_000_000, &VERY_BAD))
            .only_over(TWO, "half a minute each"),
        Case::over_every("file-20mb", 75, |bench| file(bench, 20 << 20, &[])).over(EVERY_LINK),
        Case::over_every("file-bad-link", 75, |bench| file(bench, 1 << 20, &BAD)).over(EVERY_LINK),
    ]
}

/// Our client at the servers of others.
pub(super) fn from_servers() -> Vec<Case> {
    vec![
        Case::over_every("client-10mb-very-bad-link", 75, over_very_bad_link)
            .only_over(TWO, "half a minute each"),
        Case::over_every("client-python", 30, |bench| {
            from_server(bench, "python3 -m http.server 8080 --bind $kernel 2> log &")
        }),
        Case::over_every("client-nginx", 30, |bench| {
            let address = bench.way.kernel_in_url();
            bench.write("nginx.conf", NGINX.replace("ADDRESS", address))?;
            from_server(bench, r#"nginx -p "$PWD/" -c nginx.conf -e error.log &"#)
        }),
        Case::over_every("client-socat", 30, from_socat),
    ]
}

fn page(bench: &Bench) -> Result<()> {
    let script = "curl -$v -sS --max-time 5 http://$stack_url/";
    let outcome = bench.lab(&["--serve", "http:80"], script)?;
    ensure!(outcome.out.contains("It works"), "no page: {:?}", outcome.out);
    Ok(())
}

/// A server on `[::]` answers over IPv4 and over IPv6, and there is no other.
fn page_of_both_families(bench: &Bench) -> Result<()> {
    let script = "
        curl -4 -sS --max-time 5 http://10.77.0.2/
        curl -6 -sS --max-time 5 'http://[fd77::2]/'
        estab ss -l";
    let outcome = bench.lab(&["--any", "--serve", "http:80"], script)?;
    let pages = ["10.77.0.1:", "[fd77::1]:"].map(|to| format!("This page came to {to}"));
    let came = pages.iter().all(|page| outcome.out.contains(page));
    ensure!(came, "not a page for each: {:?}", outcome.out);
    let listeners = outcome.out.lines().filter(|line| line.contains("LISTEN")).count();
    ensure!(listeners == 1, "{listeners} listeners: {:?}", outcome.out);
    Ok(())
}

fn file(bench: &Bench, length: usize, link: &[&str]) -> Result<()> {
    bench.write_bytes("file", length)?;
    let options = [&["--serve", "http:80=."], link].concat();
    let script = "
        curl -$v -sS --fail --max-time 60 http://$stack_url/file | sha256sum
        sha256sum < file";
    let outcome = bench.lab(&options, script)?;
    let mut sums = outcome.out.lines();
    let (fetched, made) = (sums.next(), sums.next());
    ensure!(made.is_some() && fetched == made, "sums differ: {:?} {:?}", outcome.out, outcome.err);
    Ok(())
}

fn from_server(bench: &Bench, start: &str) -> Result<()> {
    bench.write_bytes("file", 1 << 20)?;
    // nginx takes a client whose half ends early for one that is gone.
    let script = format!(
        "{start}
        listening 8080
        {{ get file; sleep 2; }} |
            estab nc $kernel 8080 > answer
        head -n 1 answer
        body answer | cmp - file"
    );
    bench.lab(&[], &script)?.prints(&["200 OK"])
}

/// An echo server that is a process for each connection: what goes out comes back.
fn from_socat(bench: &Bench) -> Result<()> {
    bench.write_bytes("file", 1 << 20)?;
    let script = "
        socat TCP$v-LISTEN:7000,bind=$kernel_url,fork,reuseaddr EXEC:cat &
        listening 7000
        estab nc $kernel 7000 < file > back
        cmp back file
        estab nc $kernel 7000 < back > again
        cmp again file";
    bench.lab(&[], script)?;
    Ok(())
}

/// The kernel sends, and our client gets, over the same link as the other way.
fn over_very_bad_link(bench: &Bench) -> Result<()> {
    bench.write_bytes("file", 10_000_000)?;
    let script = "
        python3 -m http.server 8080 --bind $kernel > log 2>&1 &
        listening 8080
        get file |
            timeout 60 estab nc $kernel 8080 > answer
        head -n 1 answer
        body answer | sha256sum
        sha256sum < file";
    let outcome = bench.lab(&VERY_BAD, script)?;
    outcome.prints(&["200 OK"])?;
    let sums: Vec<&str> = outcome.out.lines().skip(1).collect();
    ensure!(sums.len() == 2 && sums[0] == sums[1], "sums differ: {sums:?}");
    Ok(())
}
