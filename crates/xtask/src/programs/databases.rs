//! Databases and what measures them.

use super::conversation::{Conversation, EVERYWHERE, Part, V4};

pub(super) const CONVERSATIONS: &[Conversation] = &[
    Conversation {
        name: "postgres",
        server: Part {
            program: "PostgreSQL",
            uses: "a process for each connection, epoll, signals, TCP_USER_TIMEOUT and keep-alive options",
            script: "
                initdb -D data -A trust -U suite --no-sync --no-instructions > initdb.log
                echo 'host all all all trust' >> data/pg_hba.conf
                exec postgres -D data -k \"$PWD\" -h $at -p 5432 -F -c dynamic_shared_memory_type=mmap \\
                    -c shared_buffers=4MB -c max_connections=20 2> postgres.log",
        },
        client: Part {
            program: "pgbench and psql",
            uses: "non-blocking connect, poll with signals",
            script: "
                ready 5432
                db=\"-h $at -p 5432 -U suite\"
                for _ in {1..50}; do
                    psql $db -qc 'select 1' postgres > /dev/null 2> psql.log && break
                    sleep 0.1
                done
                pgbench $db -i -s 1 -q postgres > init.log 2>&1
                pgbench $db -c 4 -j 2 -T 1 -n postgres > bench.log 2>&1
                # What tellers, accounts and the history hold must agree.
                sums='select sum(tbalance) from pgbench_tellers union
                    select sum(abalance) from pgbench_accounts union
                    select coalesce(sum(delta), 0) from pgbench_history'
                [ $(psql $db -Atc \"$sums\" postgres | wc -l) = 1 ]
                [ $(psql $db -Atc 'select count(*) from pgbench_history' postgres) -ge 10 ]
                psql $db -Atc \"select string_agg(n::text, ',') from generate_series(1, 200000) n\" \\
                    postgres | tr -d '\\n' | sum > got.sum
                seq -s , 200000 | tr -d '\\n' | sum | cmp - got.sum",
        },
        seconds: 60,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "redis",
        server: Part {
            program: "redis-server",
            uses: "epoll, keep-alive options, TCP_NODELAY, 50 clients and pipelines",
            script: "
                exec redis-server --bind $at --port 6379 --protected-mode no --save '' > redis.log",
        },
        client: Part {
            program: "redis-cli and redis-benchmark",
            uses: "connect with a time limit, epoll",
            script: "
                ready 6379
                redis=\"redis-cli -h $at\"
                base64 -w 0 < file > text
                [ \"$($redis -x SET big < text)\" = OK ]
                $redis --raw GET big | tr -d '\\n' | same text
                redis-benchmark -h $at -t set,get,lrange_100 -n 5000 -c 50 --csv > rates 2> warnings
                redis-benchmark -h $at -t set,get -n 50000 -c 10 -P 16 -d 1000 --csv >> rates 2>> warnings
                ! grep -i error rates warnings",
        },
        seconds: 60,
        arrangements: EVERYWHERE,
        ways: V4,
    },
];
