// Read: steps tick themselves, the slider says what a review finds.

function setUpBudget() {
  const slider = find("budget");
  if (!slider) return;
  const strong = (text) => make("strong", "", text);
  const update = () => {
    const [x, y, budget, found, precision, recall] = data.budgets[Number(slider.value)];
    find("budget-words").replaceChildren(
      "Reviewing the first ", strong(budget), " finds about ", strong(found),
      ` wrong labels: ${precision} of what is looked at, ${recall} of all that are wrong.`,
    );
    slider.setAttribute("aria-valuetext", `${budget}, about ${found} wrong`);
    const marker = find("expected-found-marker");
    marker.setAttribute("cx", x);
    marker.setAttribute("cy", y);
  };
  slider.addEventListener("input", update);
  update();
}

function twinsDecided() {
  return data.contradictions.filter((pair) => pair.every(([id]) => store.of("label", id))).length;
}

function drawProgress() {
  const done = progress();
  const parts = [];
  if (done.rows) parts.push(`${whole(done.decided)} of ${whole(done.rows)} decided`);
  if (done.leaks) parts.push(`${whole(done.leaksDecided)} of ${plural(done.leaks, "leak", "leaks")}`);
  find("progress").textContent = parts.join(" · ");
  const sampled = [...drawnIds].filter((id) => store.of("label", id));
  const states = {
    rows: [done.decided, done.rows, done.decided ? `${whole(done.decided)} of ${whole(done.rows)} decided, ${whole(done.corrected)} corrected` : ""],
    sample: [sampled.length, drawnIds.size, sampled.length ? `${whole(sampled.length)} of ${whole(drawnIds.size)} decided` : ""],
    leaks: [done.leaksDecided, done.leaks, done.leaksDecided ? `${whole(done.leaksDecided)} of ${whole(done.leaks)} decided, ${plural(done.copies, "copy", "copies")}` : ""],
    twins: [twinsDecided(), data.contradictions.length, twinsDecided() ? `${twinsDecided()} of ${data.contradictions.length} settled` : ""],
  };
  for (const step of document.querySelectorAll("[data-step]")) {
    const known = states[step.dataset.step];
    if (!known) continue;
    const [count, total, words] = known;
    step.classList.toggle("done", total > 0 && count >= total);
    step.querySelector(".step-state").textContent = words;
  }
  for (const button of document.querySelectorAll(".download")) button.disabled = store.decisions.size === 0;
}
