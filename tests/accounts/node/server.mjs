// Google and Microsoft by `emulate`, and an independent OAuth authority by `oidc-provider`, each behind a front of this file.
//
// The front refuses access tokens that were never issued or are revoked (emulate serves those as its first user), keeps a list
// of the requests, and makes the faults that a test asks for. A test asks by the control address:
//   POST /faults   {service, path, method?, kind, status?, body?, type?, headers?, seconds?, count?}
//                  kind: "answer" (instead of the service), "slow" (after so many seconds), "lost" (done, but no reply comes)
//   POST /withdraw {service, email}    the person takes the consent back at the provider
//   POST /address  {sub, email}        the authority calls that person by another mail address
//   POST /lifetimes {code?, access?, refresh?}  seconds, of what the authority issues from now on
//   POST /reset    no faults, no list, and what the emulators were started with
//   GET  /requests [{service, method, path, grant}]
// Argument: a JSON object {redirects, seed}. Prints one line of JSON: the addresses.
import { createServer, request as ask } from 'node:http';
import { createEmulator } from 'emulate';
import Provider from 'oidc-provider';

const { redirects, seed, client } = JSON.parse(process.argv[2]);
const faults = [];
const requests = [];
const accessTokens = new Map(); // access token -> {service, email, refresh}
const refreshTokens = new Map(); // refresh token -> {service, email}
const listening = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
const json = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const read = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};

function faultFor(service, method, path) {
  const found = faults.findIndex(
    (fault) => fault.service === service && path.startsWith(fault.path) && (!fault.method || fault.method === method),
  );
  if (found < 0) return undefined;
  const fault = faults[found];
  fault.count = (fault.count ?? 1) - 1;
  if (fault.count <= 0) faults.splice(found, 1);
  return fault;
}

function forward(port, incoming, body) {
  return new Promise((done, failed) => {
    const options = { port, host: '127.0.0.1', method: incoming.method, path: incoming.url, headers: incoming.headers };
    const sent = ask(options, async (answer) => done({ answer, body: await read(answer) }));
    sent.on('error', failed);
    sent.end(body);
  });
}

// emulate 0.12 keeps the colon of `rfc822msgid:<id>` as a part of the id, and so finds nothing by it: this does.
async function byMessageId(port, incoming) {
  const url = new URL(incoming.url, 'http://emulate');
  const wanted = /rfc822msgid:(\S+)/.exec(url.searchParams.get('q') ?? '')?.[1].replace(/[<>]/g, '').toLowerCase();
  const { accept, authorization } = incoming.headers;
  const get = async (path) =>
    JSON.parse((await forward(port, { method: 'GET', url: path, headers: { accept, authorization } }, '')).body);
  url.searchParams.set('q', url.searchParams.get('q').replace(/rfc822msgid:\S+/, '').trim());
  url.searchParams.set('maxResults', '500');
  const found = [];
  for (const { id, threadId } of (await get(url.pathname + url.search)).messages) {
    const mail = await get(`${url.pathname}/${id}?format=metadata&metadataHeaders=Message-ID`);
    const own = mail.payload.headers[0]?.value.replace(/[<>]/g, '').toLowerCase();
    if (own === wanted) found.push({ id, threadId });
  }
  return found;
}

function remember(service, form, body) {
  let issued;
  try {
    issued = JSON.parse(body);
  } catch {
    return;
  }
  if (!issued.access_token) return;
  const claims = issued.id_token ? JSON.parse(Buffer.from(issued.id_token.split('.')[1], 'base64url')) : {};
  const before = refreshTokens.get(form.get('refresh_token'));
  const email = claims.email ?? before?.email;
  const refresh = issued.refresh_token ?? form.get('refresh_token');
  accessTokens.set(issued.access_token, { service, email, refresh });
  if (refresh) refreshTokens.set(refresh, { service, email });
}

function forget(token) {
  accessTokens.delete(token);
  if (!refreshTokens.delete(token)) return;
  for (const [access, of] of accessTokens) if (of.refresh === token) accessTokens.delete(access);
}

function front(service, upstream) {
  return createServer(async (incoming, response) => {
    const body = await read(incoming);
    const path = incoming.url.split('?')[0];
    const form = new URLSearchParams(/form/.test(incoming.headers['content-type'] ?? '') ? body.toString() : '');
    requests.push({ service, method: incoming.method, path, grant: form.get('grant_type') ?? '' });
    const fault = faultFor(service, incoming.method, path);
    if (fault?.kind === 'answer') {
      response.writeHead(fault.status, { 'content-type': fault.type ?? 'application/json', ...fault.headers });
      return response.end(fault.body ?? '');
    }
    if (fault?.kind === 'slow') await new Promise((done) => setTimeout(done, fault.seconds * 1000));
    const bearer = /^Bearer (.+)$/i.exec(incoming.headers.authorization ?? '')?.[1];
    if (bearer && !accessTokens.has(bearer)) {
      response.setHeader('www-authenticate', 'Bearer error="invalid_token"');
      return json(response, 401, { error: { code: 401, message: 'Invalid Credentials', status: 'UNAUTHENTICATED' } });
    }
    if (path.endsWith('/messages') && /[?&]q=[^&]*rfc822msgid/.test(incoming.url) && fault?.kind !== 'lost') {
      const messages = await byMessageId(upstream(), incoming);
      return json(response, 200, { messages, resultSizeEstimate: messages.length });
    }
    // emulate has no profile, which says where the history stands; the history says it too
    if (path.endsWith('/gmail/v1/users/me/profile')) incoming.url = path.replace('profile', 'history?startHistoryId=1&maxResults=1');
    const { answer, body: answered } = await forward(upstream(), incoming, body);
    if (path.endsWith('/token')) remember(service, form, answered);
    if (path.includes('revo')) forget(form.get('token'));
    if (fault?.kind === 'lost') return incoming.socket.destroy();
    response.writeHead(answer.statusCode, answer.headers);
    return response.end(answered);
  });
}

const upstreams = {};
const fronts = {};
for (const service of ['google', 'microsoft', 'authority']) {
  const port = await listening(front(service, () => upstreams[service]));
  fronts[service] = `http://127.0.0.1:${port}`;
}

const emulators = {};
for (const service of ['google', 'microsoft']) {
  const held = createServer();
  const port = await listening(held);
  await new Promise((done) => held.close(done));
  emulators[service] = await createEmulator({ service, port, baseUrl: fronts[service], seed: { tokens: {}, ...seed } });
  upstreams[service] = port;
}

const lifetimes = { code: 60, access: 3600, refresh: 86400 };
const addresses = new Map();
const email = (sub) => addresses.get(sub) ?? `${sub}@example.net`;
const provider = new Provider(fronts.authority, {
  clients: [
    { ...client, redirect_uris: redirects, grant_types: ['authorization_code', 'refresh_token'] },
    {
      client_id: 'retinue-cli',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    },
  ],
  scopes: ['openid', 'offline_access', 'email', 'mail.read', 'mail.send', 'calendar'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  findAccount: (_context, sub) => ({
    accountId: sub,
    claims: () => ({ sub, email: email(sub), email_verified: true }),
  }),
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  issueRefreshToken: (_context, of, code) => of.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  rotateRefreshToken: true,
  ttl: {
    AuthorizationCode: () => lifetimes.code,
    AccessToken: () => lifetimes.access,
    RefreshToken: () => lifetimes.refresh,
    IdToken: () => 3600,
    DeviceCode: () => 600,
    Grant: () => 86400,
    Interaction: () => 600,
    Session: () => 86400,
  },
  cookies: { keys: ['test'] },
});
upstreams.authority = await listening(createServer(provider.callback()));

async function withdraw({ service, email: whose }) {
  for (const [token, of] of [...refreshTokens]) {
    if (of.service !== service || of.email !== whose) continue;
    if (service === 'authority') {
      const kept = await provider.RefreshToken.find(token);
      if (kept) await provider.RefreshToken.revokeByGrantId(kept.grantId);
      if (kept) await (await provider.Grant.find(kept.grantId))?.destroy();
    } else {
      const path = service === 'google' ? '/oauth2/revoke' : '/oauth2/v2.0/revoke';
      await fetch(`http://127.0.0.1:${upstreams[service]}${path}`, { method: 'POST', body: new URLSearchParams({ token }) });
    }
    forget(token);
  }
}

const controls = {
  '/faults': (asked) => faults.push(asked),
  '/withdraw': withdraw,
  '/address': (asked) => addresses.set(asked.sub, asked.email),
  '/lifetimes': (asked) => Object.assign(lifetimes, asked),
  '/reset': () => {
    faults.length = 0;
    requests.length = 0;
    addresses.clear();
    Object.assign(lifetimes, { code: 60, access: 3600, refresh: 86400 });
    for (const emulator of Object.values(emulators)) emulator.reset();
  },
};
const control = createServer(async (incoming, response) => {
  if (incoming.url === '/requests') return json(response, 200, requests);
  const asked = JSON.parse((await read(incoming)).toString() || '{}');
  await controls[incoming.url](asked);
  return json(response, 200, {});
});
const port = await listening(control);
console.log(JSON.stringify({ ...fronts, control: `http://127.0.0.1:${port}` }));
process.stdin.resume().on('end', () => process.exit(0)); // whoever started this is gone
