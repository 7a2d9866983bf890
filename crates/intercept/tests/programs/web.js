// A web server and a client of node, whose libuv waits with epoll.
//
//   node web.js serve ADDRESS PORT    serves the files of this directory
//   node web.js fetch URL TIMES       fetches so many times at once and prints the SHA-256 of each answer
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');

const [what, where, number] = process.argv.slice(2);

function fetch(url) {
  (url.startsWith('https:') ? https : http).get(url, (answer) => {
    const sum = crypto.createHash('sha256');
    answer.on('data', (bytes) => sum.update(bytes));
    answer.on('end', () => console.log(sum.digest('hex')));
  }).on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}

if (what === 'serve') {
  http.createServer((request, answer) => {
    const file = fs.createReadStream(path.join('.', path.basename(request.url)));
    file.on('error', () => answer.writeHead(404).end());
    file.pipe(answer);
  }).listen(Number(number), where);
} else {
  for (let i = 0; i < Number(number); i++) fetch(where);
}
