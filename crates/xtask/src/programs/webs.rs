//! Web servers and their clients, and a proxy between.

use super::conversation::Arrangement::{Asks, Serves};
use super::conversation::{BOTH, Conversation, EVERYWHERE, Part, V4};

pub(super) const CONVERSATIONS: &[Conversation] = &[
    Conversation {
        name: "nginx",
        server: Part {
            program: "nginx, two workers",
            uses: "epoll edge-triggered, accept4, SO_REUSEPORT, sendfile, TCP_CORK, keep-alive",
            script: NGINX,
        },
        client: Part {
            program: "curl and wrk",
            uses: "non-blocking connect, poll, epoll, many connections at once",
            script: "
                ready 8000
                curl -sS --fail -o a -o b http://$at_url:8000/file http://$at_url:8000/file
                same file < a
                same file < b
                wrk -t 1 -c 32 -d 1s http://$at_url:8000/page > report
                wrk -t 1 -c 8 -d 1s -H 'Connection: close' http://$at_url:8000/page >> report
                ! grep -E 'Socket errors|Non-2xx' report
                awk '/requests in/ && $1 < 100 { exit 1 }' report",
        },
        seconds: 40,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "proxy",
        server: Part {
            program: "nginx as a reverse proxy",
            uses: "the same process accepts and connects, connections kept to the server behind",
            script: PROXY,
        },
        client: Part {
            program: "curl",
            uses: "",
            script: "
                python3 -m http.server 8002 --bind $kernel 2> log & behind=$!
                until curl -sS -o file.direct http://$kernel_url:8002/file 2> /dev/null; do sleep 0.1; done
                curl -sS --fail --max-time 20 http://$at_url:8001/file | same file
                curl -sS --fail --parallel --max-time 20 -o 'got#1' \"http://$at_url:8001/file?[1-8]\"
                for got in got*; do same file < $got; done
                kill $behind",
        },
        seconds: 30,
        arrangements: &[Serves],
        ways: BOTH,
    },
    Conversation {
        name: "python-http",
        server: Part {
            program: "http.server of python3",
            uses: "a thread for each connection",
            script: PYTHON,
        },
        client: Part {
            program: "curl and wget",
            uses: "poll, select, several connections of one process",
            script: "
                ready 8000
                curl -sS --fail --max-time 20 http://$at_url:8000/file | same file
                curl -sS --fail --parallel --max-time 20 -o 'got#1' \"http://$at_url:8000/file?[1-8]\"
                for got in got*; do same file < $got; done
                wget -q -T 20 -O - http://$at_url:8000/file | same file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "busybox",
        server: Part {
            program: "busybox httpd, static",
            uses: "a process for each connection, the socket as standard input and output",
            script: "exec busybox httpd -f -p $at_url:8000 -h .",
        },
        client: Part {
            program: "busybox wget and nc, static",
            uses: "a program without the C library of the system",
            script: "
                ready 8000
                busybox wget -q -O - http://$at_url:8000/file | same file
                printf 'GET /file HTTP/1.0\\r\\n\\r\\n' | busybox nc $at 8000 > answer
                LC_ALL=C sed '1,/^\\r$/d' answer | same file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "go",
        server: Part {
            program: "net/http of Go, static",
            uses: "system calls without the C library, epoll edge-triggered, both families on one socket",
            script: "exec $bin/web serve $at_url:8000",
        },
        client: Part {
            program: "net/http of Go, static",
            uses: "50 connections at once, non-blocking connect, SO_ERROR",
            script: "
                ready 8000
                $bin/web fetch http://$at_url:8000/file 50 | sums 50 file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "node",
        server: Part {
            program: "http of node",
            uses: "libuv: epoll, accept4, non-blocking writes",
            script: "exec node $bin/web.js serve $at 8000",
        },
        client: Part {
            program: "http of node",
            uses: "20 connections at once",
            script: "
                ready 8000
                node $bin/web.js fetch http://$at_url:8000/file 20 | sums 20 file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "java",
        server: Part {
            program: "HttpServer of OpenJDK",
            uses: "threads, sockets of both families that hear IPv4",
            script: "exec java -Xshare:auto -XX:-UsePerfData -XX:TieredStopAtLevel=1 -cp $bin Web serve $at 8000",
        },
        client: Part {
            program: "URL of OpenJDK",
            uses: "blocking connect and read with poll, IPv4 through sockets of IPv6",
            script: "
                ready 8000
                java -XX:-UsePerfData -XX:TieredStopAtLevel=1 -cp $bin Web fetch http://$at_url:8000/file 20 | sums 20 file",
        },
        seconds: 40,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "https-by-name",
        server: Part {
            program: "dnsmasq and nginx with TLS",
            uses: "UDP with names of the sender, answers by sendmsg",
            script: HTTPS,
        },
        client: Part {
            program: "curl, wget, python3, node, Go and java by name",
            uses: "UDP for names: glibc, c-ares and resolvers of their own; TLS above",
            script: "
                ready 8443 # Names are answered before that.
                page=https://www.estab.test:8443/file
                curl -sS --fail --max-time 20 --cacert $bin/ca.pem $page | same file
                wget -q -T 20 --ca-certificate=$bin/ca.pem -O - $page | same file
                SSL_CERT_FILE=$bin/ca.pem python3 $bin/get.py $page | same file
                NODE_EXTRA_CA_CERTS=$bin/ca.pem node $bin/web.js fetch $page 10 | sums 10 file
                SSL_CERT_FILE=$bin/ca.pem $bin/web fetch $page 10 | sums 10 file
                java -XX:-UsePerfData -XX:TieredStopAtLevel=1 -cp $bin Web fetch http://www.estab.test:8000/file 2 | sums 2 file",
        },
        seconds: 40,
        arrangements: &[Asks],
        ways: V4,
    },
];

/// Nobody answers for names here, which the server would ask for its own.
const PYTHON: &str = r#"
exec python3 -c "import http.server as it, socket
socket.getfqdn = str
it.test(it.SimpleHTTPRequestHandler, it.ThreadingHTTPServer, port=8000, bind='$at')" 2> log"#;

const NGINX: &str = r#"
cat > nginx.conf <<END
daemon off;
worker_processes 2;
pid nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen $at_url:8000 reuseport; root .; }
}
END
echo a page > page
exec nginx -p "$PWD/" -c nginx.conf -e error.log"#;

const PROXY: &str = r#"
cat > nginx.conf <<END
daemon off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream behind { server $kernel_url:8002; keepalive 8; }
    server {
        listen $at_url:8001;
        location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ''; }
    }
}
END
exec nginx -p "$PWD/" -c nginx.conf -e error.log"#;

const HTTPS: &str = r#"
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --no-ping --pid-file= \
    --user= --group= --port=53 --listen-address=$at --bind-interfaces --local=/test/ \
    --host-record=www.estab.test,$at &
cat > nginx.conf <<END
daemon off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {
        listen $at_url:8000;
        listen $at_url:8443 ssl;
        ssl_certificate $bin/www.pem;
        ssl_certificate_key $bin/www.key;
        root .;
    }
}
END
exec nginx -p "$PWD/" -c nginx.conf -e error.log"#;
