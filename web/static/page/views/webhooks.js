// A user's webhooks: added, tested, removed, and their failed deliveries sent again.
import { ask, page, query } from "../api.js";
import { Copyable, Fault, Loading, useLoaded } from "../parts.js";
import { count, moment, nameOf, seconds, shortId } from "../format.js";
import { attempt, say } from "../notices.js";
import { Generated } from "../form/generated.js";
import { server, user } from "../session.js";
import { words } from "../words.js";
import { html, useState } from "../../vendor/libraries.js";

const t = words({
  webhooks: ["Webhooks", "回调"], of: ["of {user}", "用户 {user}"],
  none: ["No webhook gets this user's events yet.", "尚无回调接收该用户的事件。"],
  add: ["Add a webhook", "添加回调"], adding: ["Add", "添加"],
  secret: ["The secret of {url}. No other page shows it: keep it now.", "{url} 的密钥。仅显示这一次，请立即保存。"], kept: ["I have kept it", "已保存"], secretName: ["secret", "密钥"],
  enabled: ["enabled", "已启用"], disabled: ["disabled", "已停用"], paused: ["pauses until {time}", "暂停至 {time}"], failing: ["failing since {time}", "自 {time} 起失败"],
  success: ["delivered {time}", "{time} 送达"], failure: ["failed {time}: {why}", "{time} 失败：{why}"],
  test: ["Test", "测试"], testing: ["Testing …", "测试中……"], passed: ["It answered {status} in {time}.", "已应答 {status}，用时 {time}。"], notPassed: ["The test failed: {why}", "测试失败：{why}"],
  failures: ["Failures", "失败记录"], noFailures: ["No delivery has failed for good.", "没有最终失败的投递。"], event: ["Event", "事件"], job: ["Job", "任务"], time: ["Time", "时间"], why: ["Why", "原因"],
  again: ["Send all again", "全部重新发送"], sent: ["Deliveries that go again: {n}.", "{n} 条投递将重新发送。"], more: ["more below the first {n}", "仅显示前 {n} 条"],
  remove: ["Remove", "移除"], sure: ["Remove the webhook {url}? It gets no further event.", "确定移除回调 {url}？它将不再接收事件。"], removed: ["The webhook is removed.", "回调已移除。"],
});
const MOST_ROUNDS = 1000;

export function View() {
  const owner = user.value || server.value.userID;
  const { data, error, again } = useLoaded(() => ask("GET", query("/api/v1/webhooks", { userID: owner })), [owner]);
  const [created, setCreated] = useState(null);
  return html`
    <div class="heading"><h1>${t("webhooks")}</h1><span class="quiet">${t("of", { user: owner })}</span></div>
    <${Fault} error=${error} />
    ${created && html`<section class="secret" role="status"><p>${t("secret", { url: created.url })}</p><${Copyable} text=${created.secret} label=${t("secretName")} />
      <div class="actions"><button type="button" onClick=${() => setCreated(null)}>${t("kept")}</button></div></section>`}
    ${!data ? !error && html`<${Loading} />` : data.length === 0 ? html`<p class="quiet">${t("none")}</p>` : data.map((each) => html`<${Webhook} key=${each.webhookID} webhook=${each} again=${again} />`)}
    <${Adding} key=${owner} owner=${owner} added=${(webhook) => { setCreated(webhook); again(); }} />`;
}

function Webhook({ webhook, again }) {
  const { webhookID, url, actions, state, reason } = webhook;
  const [outcome, setOutcome] = useState(null);
  const [isShown, setShown] = useState(false);
  const path = `/api/v1/webhooks/${webhookID}`;
  const test = () => attempt(async () => {
    setOutcome({ isBusy: true });
    try { setOutcome(await ask("POST", `${path}/test`)); } catch (error) { setOutcome(null); throw error; }
  });
  const remove = () => attempt(async () => { await ask("DELETE", path); say(t("removed")); again(); });
  const notes = [
    webhook.pausedUntilMs > Date.now() && t("paused", { time: moment(webhook.pausedUntilMs / 1000) }),
    webhook.failingSinceMs && t("failing", { time: moment(webhook.failingSinceMs / 1000) }),
    webhook.lastSuccessMs && t("success", { time: moment(webhook.lastSuccessMs / 1000) }),
    webhook.lastFailureMs && t("failure", { time: moment(webhook.lastFailureMs / 1000), why: webhook.lastFailure ?? "" }),
  ].filter(Boolean);
  return html`
    <section class="webhook"><h2>${url}</h2>
      <p><span class=${`state ${state === "enabled" ? "finished" : "failed"}`}>${t(state)}</span> ${reason} <span class="quiet">${notes.join(" · ")}</span></p>
      <p class="quiet">${actions.join(" · ")}</p>
      <div class="actions"><button type="button" disabled=${outcome?.isBusy} onClick=${test}>${t(outcome?.isBusy ? "testing" : "test")}</button>
        <button type="button" aria-expanded=${isShown} onClick=${() => setShown(!isShown)}>${t("failures")}</button>
        <button type="button" onClick=${() => confirm(t("sure", { url })) && remove()}>${t("remove")}</button></div>
      <p role="status">${outcome && !outcome.isBusy && (outcome.error
        ? html`<span class="fault">${t("notPassed", { why: outcome.error })}</span>` : t("passed", { status: outcome.status, time: seconds(outcome.seconds) }))}</p>
      ${isShown && html`<${Failures} path=${path} again=${again} />`}
    </section>`;
}

function Failures({ path, again: changed }) {
  const { data, error, again } = useLoaded(() => page(`${path}/failures`), [path]);
  // A call sends some of many: it is repeated while more are left.
  const retry = () => attempt(async () => {
    let total = 0;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const { sent, more } = await ask("POST", `${path}/failures/retry`);
      total += sent;
      if (!more) break;
    }
    say(t("sent", { n: count(total) }));
    again();
    changed();
  });
  if (error) return html`<${Fault} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  if (!data.items.length) return html`<p class="quiet">${t("noFailures")}</p>`;
  return html`
    <table><thead><tr><th scope="col">${t("time")}</th><th scope="col">${t("event")}</th><th scope="col">${t("job")}</th><th scope="col">${t("why")}</th></tr></thead>
      <tbody>${data.items.map(({ event, reason, failedMs }) => html`<tr key=${event.eventID}><td>${moment(failedMs / 1000)}</td><td>${event.action}</td>
        <td><a href=${`#/${event.batch ? "batch" : "job"}/${event.jobID}`}>${shortId(event.jobID)}</a> ${event.job ? nameOf(event.job.input) : ""}</td><td class="wide">${reason}</td></tr>`)}</tbody></table>
    <div class="actions"><button type="button" onClick=${retry}>${t("again")}</button>${data.next && html`<span class="quiet">${t("more", { n: data.items.length })}</span>`}</div>`;
}

function Adding({ owner, added }) {
  const { data, error } = useLoaded(() => ask("GET", "/api/v1/openapi.json"), []);
  const [n, setN] = useState(0);
  const send = async (value) => {
    added(await ask("POST", "/api/v1/webhooks", { userID: owner, ...value }));
    setN(n + 1);
  };
  return html`<section><h2>${t("add")}</h2><${Fault} error=${error} />
    ${data && html`<${Generated} key=${n} document=${data} id="add-webhook" schema="WebhookRequest" hidden=${["userID"]} main=${{ "": ["url", "actions"] }}
      initial=${{ actions: ["JobFinished", "JobFailed"] }} submit=${t("adding")} send=${send} />`}</section>`;
}
