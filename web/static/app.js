"use strict";

// Shows version and build, and every event as it comes. Progress replaces the line of its job.
const SHOWN = 200;
let pause = 500;
let cursor = null;

function detail(event) {
  if (event.error) return `${event.error.code}: ${event.error.message}`;
  if (event.progress) {
    const eta = event.progress.etaSeconds;
    const percent = event.progress.percent ?? 0;
    return `${percent.toFixed(1)} %${eta === undefined ? "" : `, ${Math.round(eta)} s to go`}`;
  }
  if (event.result?.outputs?.length) return event.result.outputs.map((output) => output.uri).join(" ");
  return event.podName ?? "";
}

function show(event) {
  cursor = event.cursor ?? cursor;
  if (event.action === "Gap") {
    $("#events").prepend($("<tr>").append($("<td>").attr("colspan", 5).text(event.msg)));
    return;
  }
  const cells = [
    new Date(event.ts * 1000).toLocaleTimeString(), event.action, event.jobID.slice(0, 8),
    event.job?.input ?? "", detail(event),
  ];
  const row = $("<tr>").addClass(event.action).append(cells.map((text) => $("<td>").text(text)));
  row.attr("data-progress", event.action === "JobProgress" ? event.jobID : null);
  const before = $("#events tr").filter((_, old) => old.dataset.progress === event.jobID);
  if (before.length) before.replaceWith(row); else $("#events").prepend(row);
  $("#events tr").slice(SHOWN).remove();
  $("#empty").hide();
}

function again() {
  $("#connection").text("reconnecting").removeClass("open");
  setTimeout(follow, pause);
  pause = Math.min(pause * 2, 30000);
}

async function follow() {
  let ticket;
  try {
    const server = await ask("GET", "/api/v1");
    $("#version").text(server.version);
    $("#build").text(`build ${server.build}, commit ${server.commit.slice(0, 12)}`);
    // A browser can send no header with a WebSocket, so it goes in by a ticket.
    ticket = token && (await ask("POST", "/api/v1/socket-tickets")).ticket;
  } catch (error) {
    console.warn(error);
    again();
    return;
  }
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  // After a drop it goes on behind the last event that was shown, so none is missed.
  const start = cursor === null ? "lastMod=0" : `after=${encodeURIComponent(cursor)}`;
  const proof = ticket ? `&ticket=${encodeURIComponent(ticket)}` : "";
  const socket = new WebSocket(`${scheme}://${location.host}/ws?${start}${proof}`);
  socket.onopen = () => { pause = 500; $("#connection").text("live").addClass("open"); };
  socket.onmessage = (message) => show(JSON.parse(message.data));
  socket.onclose = again;
}

follow();
