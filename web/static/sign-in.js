"use strict";

// Who the page's user is. When the API asks for a token, the user signs in with name and password at the deployment's
// Cognito user pool or, without a pool, pastes a token. The tab keeps the token until it is closed and renews Cognito's.
let token = sessionStorage.getItem("token");
let refreshToken = null;

const CHALLENGES = {
  NEW_PASSWORD_REQUIRED: ["NEW_PASSWORD", "New password", "password", "new-password"],
  SOFTWARE_TOKEN_MFA: ["SOFTWARE_TOKEN_MFA_CODE", "Code from your authenticator app", "text", "one-time-code"],
};

// The JSON answer of the API. Signs in and tries again on a 401; throws on any other error.
async function ask(method, path) {
  const answer = await fetch(path, { method, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (answer.status === 401) {
    await signIn(token ? "Your token has expired or is not valid. Sign in again." : "");
    return ask(method, path);
  }
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function signIn(message) {
  const description = await (await fetch("/api/v1/openapi.json")).json();
  const pool = description.components?.securitySchemes?.token["x-cognito"];
  token = await (pool ? cognitoToken(pool, message) : pastedToken(message));
  sessionStorage.setItem("token", token);
}

async function pastedToken(message) {
  const [pasted] = await form([["Token", "password", "off"]], message);
  return pasted.trim().replace(/^bearer /i, "");
}

async function cognitoToken(pool, message) {
  const renewed = refreshToken && await renew(pool);
  if (renewed) return renewed;
  for (;;) {
    const [name, password] = await form([["User name", "text", "username"], ["Password", "password", "current-password"]], message);
    try {
      return await authenticate(pool, name.trim(), password);
    } catch (error) {
      message = error.message;
    }
  }
}

async function renew(pool) {
  try {
    return idToken(await cognito(pool, "InitiateAuth", {
      AuthFlow: "REFRESH_TOKEN_AUTH", AuthParameters: { REFRESH_TOKEN: refreshToken },
    }));
  } catch (error) {
    console.warn(error);
    refreshToken = null;
    return null;
  }
}

// Signs in and answers Cognito's challenges, one form each.
async function authenticate(pool, name, password) {
  let result = await cognito(pool, "InitiateAuth", {
    AuthFlow: "USER_PASSWORD_AUTH", AuthParameters: { USERNAME: name, PASSWORD: password },
  });
  while (result.ChallengeName) {
    if (!(result.ChallengeName in CHALLENGES)) throw new Error(`This page does not support the challenge ${result.ChallengeName}.`);
    const [key, ...field] = CHALLENGES[result.ChallengeName];
    const [response] = await form([field], "");
    result = await cognito(pool, "RespondToAuthChallenge", {
      ChallengeName: result.ChallengeName,
      Session: result.Session,
      ChallengeResponses: { USERNAME: result.ChallengeParameters?.USER_ID_FOR_SRP ?? name, [key]: response },
    });
  }
  return idToken(result);
}

function idToken(result) {
  refreshToken = result.AuthenticationResult.RefreshToken ?? refreshToken;
  return result.AuthenticationResult.IdToken;
}

async function cognito(pool, action, body) {
  const answer = await fetch(pool.url, {
    method: "POST",
    headers: { "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}` },
    body: JSON.stringify({ ClientId: pool.clientId, ...body }),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.message ?? `Cognito answered ${answer.status}.`);
  return result;
}

// The values a user enters into fields. Each field is a label, an input type and an autocomplete hint.
function form(fields, message) {
  const dialog = document.getElementById("sign-in");
  const inputs = fields.map(([, type, autocomplete]) =>
    Object.assign(document.createElement("input"), { type, autocomplete, required: true, spellcheck: false }));
  const labels = fields.map(([text], n) => {
    const label = document.createElement("label");
    label.append(text, inputs[n]);
    return label;
  });
  document.getElementById("refused").textContent = message;
  document.getElementById("fields").replaceChildren(...labels);
  setConnection("signed out", false);
  dialog.hidden = false;
  inputs[0].focus();
  return new Promise((resolve) => {
    dialog.onsubmit = (submission) => {
      submission.preventDefault();
      const values = inputs.map((input) => input.value);
      document.getElementById("fields").replaceChildren();
      dialog.hidden = true;
      resolve(values);
    };
  });
}
