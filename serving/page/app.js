// The chat page: asks /v1/models for tasks, streams /v1/chat/completions, posts /v1/feedback.

const KEY = "stepladder.key";
const INLINE = "\n\nSources:\n[1] "; // how a text begins that only repeats the sources
const part = (id) => document.getElementById(id);
const conversation = []; // earlier turns, as they are sent again
let tasks = [];
let running = null; // aborts the answer under way

const key = () => sessionStorage.getItem(KEY) ?? "";
const say = (text) => { part("status").textContent = text; };

async function call(path, options = {}) {
  const headers = { Authorization: `Bearer ${key()}`, "Content-Type": "application/json" };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const failure = new Error(told.error?.message ?? `the gateway answered ${answer.status}`);
  failure.status = answer.status;
  throw failure;
}

const post = (path, body, signal) => call(path, { method: "POST", body: JSON.stringify(body), signal });

async function open() {
  try {
    tasks = (await (await call("/v1/models")).json()).data;
  } catch (failure) {
    close(failure.status === 401 && !key() ? "" : failure.message);
    return;
  }
  part("key-form").hidden = true;
  part("choices").hidden = part("ask").hidden = false;
  part("task").replaceChildren(...tasks.map((task) => new Option(`${task.title} (${task.id})`, task.id)));
  part("task").disabled = part("fresh").disabled = tasks.length === 0;
  say(tasks.length ? "" : "No task has a champion yet: promote a release, then load this page again.");
  chooseTask();
  part("question").focus();
}

function close(message) {
  sessionStorage.removeItem(KEY);
  part("key-form").hidden = false;
  part("choices").hidden = part("ask").hidden = part("empty").hidden = true;
  part("task").disabled = part("fresh").disabled = true;
  say(message);
  part("key").focus();
}

function chooseTask() {
  const task = tasks.find((one) => one.id === part("task").value);
  const releases = task?.releases ?? [];
  part("release").replaceChildren(
    ...releases.map((one) => new Option(`${one.alias}: version ${one.version}, ${one.rung}`, one.alias)),
  );
  part("release-choice").hidden = releases.length < 2;
  begin();
}

function begin() {
  running?.abort();
  conversation.length = 0;
  part("log").replaceChildren();
  const task = tasks.find((one) => one.id === part("task").value);
  part("empty").hidden = !task;
  part("empty").textContent = task ? `Ask about: ${task.title}` : "";
}

const model = () => {
  const release = part("release").value;
  return release && release !== "champion" ? `${part("task").value}@${release}` : part("task").value;
};

function show(name) {
  const article = part(name).content.cloneNode(true).firstElementChild;
  part("log").append(article);
  part("empty").hidden = true;
  return article;
}

async function ask(question) {
  show("asked").querySelector(".text").textContent = question;
  const article = show("answered");
  const text = article.querySelector(".text");
  article.scrollIntoView({ block: "end" });
  conversation.push({ role: "user", content: question });
  running = new AbortController();
  busy(true);
  say("");
  try {
    const body = { model: model(), messages: conversation, stream: true };
    const answer = await post("/v1/chat/completions", body, running.signal);
    for await (const event of events(answer.body)) {
      if (event.error) throw new Error(event.error.message);
      const said = event.choices[0]?.delta.content ?? "";
      if (!said.startsWith(INLINE)) text.textContent += said; // the sources stand below the answer
      if (event.stepladder) describe(article, event.stepladder);
    }
    conversation.push({ role: "assistant", content: text.textContent });
    offerFeedback(article);
  } catch (failure) {
    conversation.pop();
    const stopped = failure.name === "AbortError";
    article.classList.toggle("failed", !stopped);
    text.textContent += stopped ? " (stopped)" : failure.message;
    if (failure.status === 401) close(failure.message);
  } finally {
    text.setAttribute("aria-busy", "false");
    running = null;
    busy(false);
  }
}

async function* events(stream) {
  let kept = "";
  for await (const piece of decoded(stream)) {
    const parts = (kept + piece).split("\n\n");
    kept = parts.pop();
    for (const one of parts) {
      const data = one.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
  throw new Error("the answer broke off");
}

async function* decoded(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have been stopped already
  }
}

function describe(article, told) {
  article.dataset.interaction = told.interaction;
  article.querySelector(".release").textContent = `version ${told.version}, ${told.rung}`;
  article.querySelector(".abstained").hidden = told.abstained !== true;
  const box = article.querySelector(".sources");
  box.hidden = told.sources.length === 0;
  const many = told.sources.length === 1 ? "1 source" : `${told.sources.length} sources`;
  box.querySelector("summary").textContent = told.abstained ? `${many} read, none holds the answer` : many;
  box.querySelector("ol").replaceChildren(...told.sources.map(sourceItem));
}

function sourceItem(source) {
  const item = document.createElement("li");
  const where = document.createElement("span");
  where.className = "where";
  where.textContent = ` (${source.page}, score ${source.score.toFixed(3)})`;
  item.append(source.heading || source.page, where);
  return item;
}

function offerFeedback(article) {
  const form = article.querySelector(".correction");
  const [up, down, correct] = ["up", "down", "correct"].map((name) => article.querySelector(`.${name}`));
  article.querySelector(".feedback").hidden = false;
  const unfold = (open) => {
    form.hidden = !open;
    const corrected = form.querySelector("textarea");
    corrected.value ||= article.querySelector(".text").textContent;
    correct.setAttribute("aria-expanded", String(open));
    (open ? corrected : correct).focus();
  };
  const press = async (pressed, other, thumb) => {
    if (!(await give(article, { thumb }, "Thank you."))) return;
    pressed.setAttribute("aria-pressed", "true");
    other.setAttribute("aria-pressed", "false");
  };
  up.addEventListener("click", () => press(up, down, "up"));
  down.addEventListener("click", () => press(down, up, "down"));
  correct.addEventListener("click", () => unfold(form.hidden));
  form.querySelector(".cancel").addEventListener("click", () => unfold(false));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const told = { correction: form.querySelector("textarea").value };
    const comment = form.querySelector(".comment").value.trim();
    if (comment) told.comment = comment;
    if (await give(article, told, "Thank you. The correction is kept for the next climb.")) unfold(false);
  });
}

async function give(article, told, thanks) {
  const place = article.querySelector(".thanks");
  try {
    await post("/v1/feedback", { interaction: article.dataset.interaction, ...told });
    place.textContent = thanks;
    return true;
  } catch (failure) {
    place.textContent = `Not kept: ${failure.message}`;
    return false;
  }
}

function busy(yes) {
  part("send").hidden = yes;
  part("stop").hidden = !yes;
  part("task").disabled = part("release").disabled = part("fresh").disabled = yes;
  if (!yes) part("question").focus();
}

part("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, part("key").value.trim());
  part("key").value = "";
  open();
});
part("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = part("question").value.trim();
  if (!question || running) return;
  part("question").value = "";
  ask(question);
});
part("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  part("ask").requestSubmit();
});
part("task").addEventListener("change", chooseTask);
part("release").addEventListener("change", begin);
part("fresh").addEventListener("click", begin);
part("forget").addEventListener("click", () => { begin(); close(""); });
part("stop").addEventListener("click", () => running?.abort());
if (key()) open();
else part("key").focus();
