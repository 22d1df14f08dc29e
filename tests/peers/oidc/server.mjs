// A strict authorization server (oidc-provider) and a small API that takes its access tokens.
//
//   node server.mjs '{"redirectUri": "http://..."}'
//
// Prints {"listen":"127.0.0.1:PORT"} when it is ready and ends when its standard input closes. PKCE with S256 is required,
// refresh tokens rotate, and a rotated one that comes back revokes the whole grant. Below /_control tests read counts and
// set how long tokens live.

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { redirectUri } = JSON.parse(process.argv[2]);
const counts = { code: 0, refresh: 0, refused: {}, revokedGrants: 0, api: 0, apiRefused: 0 };
let accessSeconds = 3600;

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const client = (id, secret, method) => ({
  client_id: id,
  client_secret: secret,
  token_endpoint_auth_method: method,
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
});

const provider = new Provider(issuer, {
  clients: [
    // Every character that form encoding changes, and that a header would take as it is.
    client('basic client:1', 'b&sic s3cret+/=:%20', 'client_secret_basic'),
    client('post-client', 'p&st s3cret+/=:%20', 'client_secret_post'),
  ],
  cookies: { keys: ['keys of the tests'] },
  features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
  findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'read:members', 'read:clubs'],
  ttl: {
    AccessToken: () => accessSeconds,
    AuthorizationCode: 60,
    Grant: 86400,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 600,
  },
});

provider.on('grant.success', (ctx) => {
  const kind = ctx.oidc.params.grant_type;
  counts[kind === 'refresh_token' ? 'refresh' : 'code'] += 1;
});
provider.on('grant.error', (ctx, error) => {
  counts.refused[error.message] = (counts.refused[error.message] ?? 0) + 1;
});
provider.on('grant.revoked', () => { counts.revokedGrants += 1; });

const send = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

async function api(request, response) {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  const known = token ? await provider.AccessToken.find(token) : undefined;
  if (!known?.isValid) {
    counts.apiRefused += 1;
    response.setHeader('www-authenticate', 'Bearer error="invalid_token"');
    send(response, 401, { error: 'unauthorized' });
    return;
  }
  counts.api += 1;
  const member = {
    memberId: 'M-1', firstName: 'Aoife', lastName: 'Byrne', dateOfBirth: '1990-01-02', membershipStatus: 'Active',
  };
  send(response, 200, { members: [member], totalCount: 1, page: 1, hasMore: false });
}

const callback = provider.callback();
server.on('request', (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  if (pathname === '/_control/counts') {
    send(response, 200, counts);
  } else if (pathname === '/_control/lives') {
    accessSeconds = Number(searchParams.get('accessSeconds'));
    send(response, 200, { accessSeconds });
  } else if (pathname.startsWith('/api/')) {
    api(request, response).catch((error) => send(response, 500, { error: String(error) }));
  } else {
    callback(request, response);
  }
});

console.log(JSON.stringify({ listen: issuer.replace('http://', '') }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
