// Who the page's user is. When the API asks for a token, the user signs in with name and password at the deployment's
// Cognito user pool or, without a pool, pastes a token. The tab keeps the token until it is closed and renews Cognito's.
import { signal } from "../vendor/libraries.js";
import { words } from "./words.js";

const t = words({
  expired: ["Your token has expired or is not valid. Sign in again.", "令牌已过期或无效，请重新登录。"],
  token: ["Token", "令牌"],
  user: ["User name", "用户名"],
  password: ["Password", "密码"],
  newPassword: ["New password", "新密码"],
  code: ["Code from your authenticator app", "身份验证器应用中的验证码"],
  challenge: ["This page does not support the challenge {name}.", "此页面不支持验证方式 {name}。"],
  answered: ["Cognito answered {status}.", "Cognito 返回了 {status}。"],
});
const CHALLENGES = {
  NEW_PASSWORD_REQUIRED: ["NEW_PASSWORD", "newPassword", "password", "new-password"],
  SOFTWARE_TOKEN_MFA: ["SOFTWARE_TOKEN_MFA_CODE", "code", "text", "one-time-code"],
};

let token = sessionStorage.getItem("token");
let refreshToken = null;
let signingIn = null;

// What the user must fill in: { fields: [[label, type, autocomplete]…], message, submit }; null while nothing is asked.
export const form = signal(null);

export const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});
export const hasToken = () => token !== null;

export function signOut() {
  sessionStorage.clear();
  location.reload();
}

// Signs in, once for all requests that need it now.
export function signIn() {
  signingIn ??= newToken(token ? t("expired") : "").finally(() => { signingIn = null; });
  return signingIn;
}

async function newToken(message) {
  const description = await (await fetch("/api/v1/openapi.json")).json();
  const pool = description.components?.securitySchemes?.token?.["x-cognito"];
  token = await (pool ? cognitoToken(pool, message) : pastedToken(message));
  sessionStorage.setItem("token", token);
}

async function pastedToken(message) {
  const [pasted] = await filledIn([[t("token"), "password", "off"]], message);
  return pasted.trim().replace(/^bearer /i, "");
}

async function cognitoToken(pool, message) {
  const renewed = refreshToken && await renew(pool);
  if (renewed) return renewed;
  for (;;) {
    const fields = [[t("user"), "text", "username"], [t("password"), "password", "current-password"]];
    const [name, password] = await filledIn(fields, message);
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
    if (!(result.ChallengeName in CHALLENGES)) throw new Error(t("challenge", { name: result.ChallengeName }));
    const [key, label, ...hints] = CHALLENGES[result.ChallengeName];
    const [response] = await filledIn([[t(label), ...hints]], "");
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
  if (!answer.ok) throw new Error(result.message ?? t("answered", { status: answer.status }));
  return result;
}

// The values a user enters into fields.
function filledIn(fields, message) {
  return new Promise((resolve) => {
    form.value = { fields, message, submit(values) { form.value = null; resolve(values); } };
  });
}
