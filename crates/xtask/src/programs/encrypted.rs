//! What encrypts: TLS by hand, and a shell elsewhere.

use super::conversation::{Conversation, EVERYWHERE, Part, V4};

pub(super) const CONVERSATIONS: &[Conversation] = &[
    Conversation {
        name: "ssh",
        server: Part {
            program: "sshd",
            uses: "a process for each connection, privilege separation with a filter of its own, passed descriptors",
            script: SSHD,
        },
        client: Part {
            program: "ssh and scp",
            uses: "ppoll, TCP_NODELAY, IP_TOS",
            script: r#"
                ready 2222
                options="-F none -i $PWD/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=$PWD/known -o BatchMode=yes -q"
                ssh $options -p 2222 "$USER@$at" "cat '$PWD/file'" | same file
                scp $options -P 2222 "$USER@$at_url:$PWD/file" got
                same file < got
                ssh $options -p 2222 "$USER@$at" "cat > '$PWD/there'" < file
                same file < there"#,
        },
        seconds: 40,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "tls",
        server: Part {
            program: "openssl s_server",
            uses: "sockets of both families, select",
            script: "exec openssl s_server -accept $at_url:8443 -cert $bin/www.pem -key $bin/www.key -WWW -quiet",
        },
        client: Part {
            program: "openssl s_client",
            uses: "getaddrinfo, select",
            script: "
                ready 8443
                printf 'GET /file HTTP/1.0\\r\\n\\r\\n' | openssl s_client -connect $at_url:8443 \\
                    -CAfile $bin/ca.pem -verify_return_error -servername www.estab.test \\
                    -quiet -ign_eof > answer 2> log
                LC_ALL=C sed '1,/^\\r$/d' answer | same file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
];

const SSHD: &str = r#"
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f user
cp user.pub authorized
cat > sshd_config <<END
Port 2222
ListenAddress $at
HostKey $PWD/host
AuthorizedKeysFile $PWD/authorized
UsePAM no
StrictModes no
PidFile none
Subsystem sftp internal-sftp
END
exec "$(command -v sshd)" -D -e -f "$PWD/sshd_config" 2> sshd.log"#;
