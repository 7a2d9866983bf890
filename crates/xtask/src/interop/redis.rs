//! Redis: its clients at the example `resp`, our client at its server.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("redis-cli", 30, clients),
        Case::over_every("redis-benchmark", 60, many_clients),
        Case::over_every("redis-server", 30, server),
    ]
}

fn clients(bench: &Bench) -> Result<()> {
    let script = r#"
        redis="redis-cli -h $stack"
        [ "$($redis PING)" = PONG ]
        [ "$($redis ECHO 'hello there')" = 'hello there' ]
        [ "$($redis SET key value)" = OK ]
        [ "$($redis GET key)" = value ]
        [ "$($redis GET nothing)" = '' ]
        big=$(head -c 100000 /dev/zero | tr '\0' x)
        [ "$(printf %s "$big" | $redis -x SET big)" = OK ]
        [ "$($redis GET big)" = "$big" ]
        [ "$($redis DEL big)" = 1 ]"#;
    beside_resp(bench, script)
}

fn many_clients(bench: &Bench) -> Result<()> {
    let script = "
        redis-benchmark -h $stack -t ping_mbulk,set,get -n 10000 -c 50 --csv 2> warnings
        redis-benchmark -h $stack -t set,get -n 100000 -c 10 -P 16 -d 1000 --csv 2> warnings";
    beside_resp(bench, script)
}

fn server(bench: &Bench) -> Result<()> {
    let script = r#"
        redis-server --bind $kernel --port 6379 --protected-mode no --save '' > log &
        listening 6379
        printf 'PING\r\nSET key value\r\nGET key\r\nQUIT\r\n' |
            estab nc $kernel 6379 > answer
        printf '+PONG\r\n+OK\r\n$5\r\nvalue\r\n+OK\r\n' | cmp - answer"#;
    bench.lab(&[], script)?;
    Ok(())
}

fn beside_resp(bench: &Bench, script: &str) -> Result<()> {
    let mut resp = bench.command(&bench.resp);
    if bench.way.is_tap() {
        resp.arg("--tap");
    }
    bench.finish(bench.script(resp, script))?.success()?;
    Ok(())
}
