//! A small HTTP/1.1 server and client (RFC 9110, RFC 9112), over any stream.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::Output;

/// The longest request head that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// The longest request body that is read and thrown away to keep the connection.
const LONGEST_BODY: u64 = 1 << 20;

/// What a server shows.
#[derive(Debug)]
pub(crate) struct Site {
    /// The directory, absolute and without links; `None` for the page of our own.
    root: Option<PathBuf>,
}

/// An answer before it is sent.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    /// Where a redirect leads.
    location: Option<String>,
    body: Body,
}

enum Body {
    Text(String),
    File(File, u64),
}

/// What of a request matters here.
struct Request {
    method: String,
    target: String,
    keep_alive: bool,
    body_length: u64,
}

impl Site {
    /// One page, about the connection that it came over.
    pub(crate) fn welcome() -> Self {
        Self { root: None }
    }

    /// The files of a directory.
    pub(crate) fn of(directory: &Path) -> anyhow::Result<Self> {
        let root = directory
            .canonicalize()
            .with_context(|| format!("{}: cannot serve it", directory.display()))?;
        Ok(Self { root: Some(root) })
    }

    /// Answers the requests of one connection until it ends.
    pub(crate) fn serve<S: Read + Write>(
        &self,
        stream: &mut S,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let request = match read_request(&mut stream)? {
                Head::Request(request) => request,
                Head::End => return Ok(()),
                Head::Bad(status) => {
                    return send(stream.get_mut(), Answer::error(status), true, false);
                }
            };
            let keep_alive = request.keep_alive && request.body_length <= LONGEST_BODY;
            if keep_alive {
                io::copy(&mut stream.by_ref().take(request.body_length), &mut io::sink())?;
            }
            let with_body = request.method != "HEAD";
            send(stream.get_mut(), self.answer(&request, peer), with_body, keep_alive)?;
            if !keep_alive {
                return Ok(());
            }
        }
    }

    fn answer(&self, request: &Request, peer: SocketAddr) -> Answer {
        if request.method != "GET" && request.method != "HEAD" {
            return Answer::error("405 Method Not Allowed");
        }
        let path = request.target.split(['?', '#']).next().unwrap_or_default();
        match &self.root {
            None if path == "/" || path == "/index.html" => Answer::page(welcome_page(peer)),
            None => Answer::error("404 Not Found"),
            Some(root) => file_answer(root, path),
        }
    }
}

impl Answer {
    fn page(text: String) -> Self {
        let content_type = "text/html; charset=utf-8";
        Self { status: "200 OK", content_type, location: None, body: Body::Text(text) }
    }

    fn error(status: &'static str) -> Self {
        let body = Body::Text(format!("{status}\n"));
        Self { status, content_type: "text/plain; charset=utf-8", location: None, body }
    }
}

/// The file or directory below `root` that a request path names.
fn file_answer(root: &Path, path: &str) -> Answer {
    let not_found = || Answer::error("404 Not Found");
    let Some(relative) = decode(path) else { return Answer::error("400 Bad Request") };
    // After following links it must still be below the root.
    let Ok(found) = root.join(relative.trim_start_matches('/')).canonicalize() else {
        return not_found();
    };
    if !found.starts_with(root) {
        return not_found();
    }
    if !found.is_dir() {
        return file_body(&found).unwrap_or_else(|_| Answer::error("403 Forbidden"));
    }
    if !path.ends_with('/') {
        let location = Some(format!("{path}/"));
        return Answer { location, ..Answer::error("301 Moved Permanently") };
    }
    match file_body(&found.join("index.html")) {
        Ok(answer) => answer,
        Err(_) => index(&found, path).map_or_else(|_| not_found(), Answer::page),
    }
}

fn file_body(path: &Path) -> io::Result<Answer> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let body = Body::File(file, metadata.len());
    Ok(Answer { status: "200 OK", content_type: content_type(path), location: None, body })
}

/// A directory as a page of links.
fn index(directory: &Path, path: &str) -> io::Result<String> {
    let mut names: Vec<String> = fs::read_dir(directory)?
        .filter_map(Result::ok)
        .map(|entry| {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    let title = escape(path);
    let mut page = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n");
    for name in names {
        page += &format!("<li><a href=\"{}\">{}</a>\n", encode(&name), escape(&name));
    }
    Ok(page + "</ul>\n")
}

enum Head {
    Request(Request),
    /// The client closed instead of asking again.
    End,
    /// Not a request: the status to answer with before closing.
    Bad(&'static str),
}

fn read_request(stream: &mut impl BufRead) -> io::Result<Head> {
    let mut head = Vec::new();
    loop {
        let room = u64::try_from(LONGEST_HEAD - head.len()).unwrap_or(0);
        let before = head.len();
        stream.take(room).read_until(b'\n', &mut head)?;
        if head.len() == before {
            let end = if before == 0 { Head::End } else { Head::Bad("400 Bad Request") };
            return Ok(if room == 0 {
                Head::Bad("431 Request Header Fields Too Large")
            } else {
                end
            });
        }
        // Empty lines before a request are to be ignored (RFC 9112 2.2).
        if head == b"\r\n" || head == b"\n" {
            head.clear();
        } else if head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(parse(&head).map_or_else(Head::Bad, Head::Request));
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, &'static str> {
    const BAD: &str = "400 Bad Request";
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err(BAD),
    }
    let newer = request.version == Some(1);
    let mut keep_alive = newer;
    let mut body_length = 0;
    let mut hosts = 0;
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).map_err(|_| BAD)?.trim();
        if header.name.eq_ignore_ascii_case("connection") {
            let has = |word: &str| value.split(',').any(|v| v.trim().eq_ignore_ascii_case(word));
            keep_alive = (keep_alive || has("keep-alive")) && !has("close");
        } else if header.name.eq_ignore_ascii_case("content-length") {
            body_length = value.parse().map_err(|_| BAD)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("501 Not Implemented");
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        }
    }
    // RFC 9112 3.2.
    if newer && hosts != 1 {
        return Err(BAD);
    }
    Ok(Request {
        method: request.method.ok_or(BAD)?.to_owned(),
        target: request.path.ok_or(BAD)?.to_owned(),
        keep_alive,
        body_length,
    })
}

fn send(out: &mut impl Write, answer: Answer, with_body: bool, keep_alive: bool) -> io::Result<()> {
    let length = match &answer.body {
        Body::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        Body::File(_, length) => *length,
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let mut head = format!(
        "HTTP/1.1 {}\r\nServer: estab\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n",
        answer.status, answer.content_type
    );
    if let Some(location) = &answer.location {
        head += &format!("Location: {location}\r\n");
    }
    if answer.status.starts_with("405") {
        head += "Allow: GET, HEAD\r\n";
    }
    head += "\r\n";
    match answer.body {
        // One write for a small answer: one segment.
        Body::Text(text) if with_body => out.write_all((head + &text).as_bytes())?,
        Body::File(file, length) if with_body => {
            out.write_all(head.as_bytes())?;
            let sent = copy(&mut file.take(length), out)?;
            // A file that shrank: only closing tells the client.
            if sent < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        _ => out.write_all(head.as_bytes())?,
    }
    out.flush()
}

/// Like `io::copy`, in pieces that suit super-segments.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..count])?;
        total += u64::try_from(count).unwrap_or(0);
    }
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" | "rs" | "toml" => "text/plain; charset=utf-8",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// Takes `%20` and its like back to characters; `None` for what is no text or holds a zero.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

fn encode(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn welcome_page(peer: SocketAddr) -> String {
    // A listener for both families tells of IPv4 as `::ffff:10.0.0.1`.
    let to = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    format!(
        "<!doctype html>\n<title>estab</title>\n<h1>It works</h1>\n\
         <p>This page came to {to} over a TCP/IP stack in user space. The kernel at your end sent \
         a SYN through a virtual device; `estab` answered it, byte by byte, and both sides reached \
         ESTABLISHED.\n<p>Try `estab ss -i`, or `--trace` and `--pcap` to see the segments.\n"
    )
}

/// Fetches `path` and returns the status line and the body. The server is asked to close.
pub(crate) fn fetch<S: Read + Write>(
    stream: &mut S,
    host: SocketAddr,
    path: &str,
) -> io::Result<(String, Vec<u8>)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(bad)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| bad())?;
    let status = head.lines().next().unwrap_or_default().to_owned();
    Ok((status, answer.split_off(end + 4)))
}

/// `estab __fetch`: a page through the kernel's TCP, for tests that must not need curl.
pub(crate) fn fetch_and_print(address: SocketAddr, path: &str) -> anyhow::Result<ExitCode> {
    let timeout = Duration::from_secs(30);
    let mut stream = std::net::TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let (status, body) = fetch(&mut stream, address, path)?;
    io::stdout().write_all(&body).map_err(Output::from)?;
    Ok(if status.contains(" 200 ") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose client said everything already.
    struct Talk {
        asked: io::Cursor<Vec<u8>>,
        answered: Vec<u8>,
    }

    impl Read for Talk {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.asked.read(buffer)
        }
    }

    impl Write for Talk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.answered.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn talk(site: &Site, asked: &str) -> String {
        let mut talk =
            Talk { asked: io::Cursor::new(asked.as_bytes().to_vec()), answered: Vec::new() };
        site.serve(&mut talk, "10.77.0.1:40000".parse().unwrap()).unwrap();
        String::from_utf8(talk.answered).unwrap()
    }

    fn statuses(answers: &str) -> Vec<&str> {
        answers.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).collect()
    }

    #[test]
    fn a_connection_is_kept_and_closed_as_asked() {
        let site = Site::welcome();
        let twice = "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(statuses(&talk(&site, twice)), ["200 OK", "404 Not Found"]);
        let closing = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(statuses(&talk(&site, closing)), ["200 OK"]);
        let old = "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        assert_eq!(statuses(&talk(&site, old)), ["200 OK"]);
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        let answer = talk(&Site::welcome(), "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.contains("Content-Length: ") && answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn bodies_are_skipped_and_bad_requests_refused() {
        let site = Site::welcome();
        let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(statuses(&talk(&site, post)), ["405 Method Not Allowed", "200 OK"]);
        for bad in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            assert_eq!(statuses(&talk(&site, bad)), ["400 Bad Request"], "{bad}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(LONGEST_HEAD));
        assert_eq!(statuses(&talk(&site, &long)), ["431 Request Header Fields Too Large"]);
    }

    #[test]
    fn files_below_the_root_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("estab-http-{}", std::process::id()));
        fs::create_dir_all(root.join("inner dir")).unwrap();
        fs::write(root.join("a.txt"), "hello").unwrap();
        let _ = std::os::unix::fs::symlink("/etc/passwd", root.join("leak"));
        let site = Site::of(&root).unwrap();
        let get = |path: &str| talk(&site, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(get("/a.txt").ends_with("\r\n\r\nhello"));
        assert!(get("/").contains("<a href=\"inner%20dir/\">"));
        assert!(get("/inner%20dir").contains("Location: /inner%20dir/"));
        for outside in ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/leak"] {
            assert_eq!(statuses(&get(outside)), ["404 Not Found"], "{outside}");
        }
        assert_eq!(statuses(&get("/%00")), ["400 Bad Request"]);
        fs::remove_dir_all(root).unwrap();
    }
}
