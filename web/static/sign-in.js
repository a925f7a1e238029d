"use strict";

// Whom the page asks as. Where the deployment wants to know, people sign in: with name and password at its Cognito user
// pool, or else with a token that they bring. The token is kept until the tab is closed; Cognito's is renewed meanwhile.
let token = sessionStorage.getItem("token");
let renewal = null;

const CHALLENGES = {
  NEW_PASSWORD_REQUIRED: ["NEW_PASSWORD", "A new password of yours", "password", "new-password"],
  SOFTWARE_TOKEN_MFA: ["SOFTWARE_TOKEN_MFA_CODE", "The code that your authenticator shows", "text", "one-time-code"],
};

async function ask(method, path) {
  const answer = await fetch(path, { method, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (answer.status === 401) {
    await signIn(token ? "What you signed in with is not taken, or not any more." : "");
    return ask(method, path);
  }
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function signIn(refused) {
  const description = await (await fetch("/api/v1/openapi.json")).json();
  const pool = description.components?.securitySchemes?.token["x-cognito"];
  keep(await (pool ? cognitosToken(pool, refused) : broughtToken(refused)));
}

function keep(found) {
  token = found;
  sessionStorage.setItem("token", token);
}

async function broughtToken(refused) {
  const [brought] = await form([["Token", "password", "off"]], refused);
  return brought.trim().replace(/^bearer /i, "");
}

async function cognitosToken(pool, refused) {
  const renewed = renewal && await renew(pool);
  if (renewed) return renewed;
  for (;;) {
    const [name, password] = await form([["User name", "text", "username"], ["Password", "password", "current-password"]], refused);
    try {
      return await entered(pool, name.trim(), password);
    } catch (error) {
      refused = error.message;
    }
  }
}

async function renew(pool) {
  try {
    return taken(await cognito(pool, "InitiateAuth", {
      AuthFlow: "REFRESH_TOKEN_AUTH", AuthParameters: { REFRESH_TOKEN: renewal },
    }));
  } catch (error) {
    console.warn(error);
    renewal = null;
    return null;
  }
}

async function entered(pool, name, password) {
  let said = await cognito(pool, "InitiateAuth", {
    AuthFlow: "USER_PASSWORD_AUTH", AuthParameters: { USERNAME: name, PASSWORD: password },
  });
  while (said.ChallengeName) {
    if (!(said.ChallengeName in CHALLENGES)) throw new Error(`This page can't answer your user pool's ${said.ChallengeName}.`);
    const [key, ...field] = CHALLENGES[said.ChallengeName];
    const [given] = await form([field], "");
    said = await cognito(pool, "RespondToAuthChallenge", {
      ChallengeName: said.ChallengeName,
      Session: said.Session,
      ChallengeResponses: { USERNAME: said.ChallengeParameters?.USER_ID_FOR_SRP ?? name, [key]: given },
    });
  }
  return taken(said);
}

function taken(said) {
  renewal = said.AuthenticationResult.RefreshToken ?? renewal;
  return said.AuthenticationResult.IdToken;
}

async function cognito(pool, action, body) {
  const answer = await fetch(pool.url, {
    method: "POST",
    headers: { "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}` },
    body: JSON.stringify({ ClientId: pool.clientId, ...body }),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.message ?? `Cognito answered ${answer.status}.`);
  return said;
}

// What people put into fields, each a label, a type and what browsers may fill in.
function form(fields, refused) {
  $("#refused").text(refused);
  $("#fields").empty().append(fields.map(([label, type, autocomplete]) =>
    $("<label>").text(label).append($("<input>").attr({ type, autocomplete, required: true, spellcheck: false }))));
  $("#connection").text("who are you?").removeClass("open");
  $("#sign-in").prop("hidden", false).find("input").first().trigger("focus");
  return new Promise((resolve) => {
    $("#sign-in").off("submit").on("submit", (submitted) => {
      submitted.preventDefault();
      const given = $("#fields input").map((_, input) => input.value).get();
      $("#fields").empty();
      $("#sign-in").prop("hidden", true);
      resolve(given);
    });
  });
}
