"use strict";
// The page's data and scripts are packed (zlib, base64): each is unpacked, then all are put into place in
// their order. What the page says without them is plain HTML.

(async () => {
  const nonce = document.currentScript.nonce;
  const unpack = (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  };
  const fail = (why) => {
    const say = document.createElement("p");
    say.className = "error";
    say.id = "not-unpacked";
    say.setAttribute("role", "alert");
    say.textContent =
      "The charts, What if, the table of all figures and that of energy windows are missing, because this browser cannot " +
      `show them (${why}). It takes one of 2023 or later. metrics.csv and metrics.json beside this file hold every figure.`;
    document.getElementById("contents").after(say);
  };
  const blocks = [...document.querySelectorAll("script[data-packed]")];
  let texts;
  try {
    texts = await Promise.all(blocks.map((block) => unpack(block.textContent)));
  } catch (problem) {
    fail(problem.message);
    return;
  }
  blocks.forEach((block, i) => {
    const script = document.createElement("script");
    script.nonce = nonce;
    script.id = block.id;
    script.type = block.dataset.packed;
    // So that a page saved from here ends no script early: only JSON holds what others have written.
    script.textContent = script.type === "application/json" ? texts[i].replaceAll("<", "\\u003c") : texts[i];
    block.replaceWith(script);
  });
  if (document.documentElement.dataset.ready !== "true") fail("a script ended early");
})();
