// Opens and draws everything on a page, and returns what a reader should not see there: an array of sentences.
async () => {
  const found = [];
  const name = (element) => `${element.tagName.toLowerCase()}.${element.className}#${element.id}`;

  // every chart lies inside its canvas, and the canvas inside its place
  const embed = window.vegaEmbed;
  window.vegaEmbed = async (place, ...others) => {
    const result = await embed(place, ...others);
    const { x1, x2, y1, y2 } = result.view.scenegraph().root.bounds;
    const [left, top] = result.view.origin();
    const { left: before, top: above } = result.view.padding();
    const canvas = place.querySelector("canvas").getBoundingClientRect();
    const inside = x1 + left + before >= 0 && x2 + left + before <= canvas.width && y1 + top + above >= 0 && y2 + top + above <= canvas.height;
    if (!inside) found.push(`the chart ${place.id} is larger than its canvas`);
    if (canvas.width > place.clientWidth) found.push(`the chart ${place.id} is wider than its place`);
    return result;
  };
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const place of document.querySelectorAll(".chart")) await draw(place);

  // nothing is cut, and nothing scrolls sideways
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) found.push("the page scrolls sideways");
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width && (box.left < 0 || box.right > width + 0.5)) found.push(`${name(element)} leaves the window`);
    if (getComputedStyle(element).display !== "inline" && element.scrollWidth > element.clientWidth + 1) {
      found.push(`${name(element)} is cut or scrolls: ${element.textContent.trim().slice(0, 40)}`);
    }
  }

  // words stay whole (digests alone are longer than a line), and so do numbers with what belongs to them
  const whole = /\d[\d.,]*\s(?:%|±\s[\d.]+)|[^\s-]+/gu;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest("script, style, code")) continue;
    for (const part of node.data.matchAll(whole)) {
      const range = document.createRange();
      range.setStart(node, part.index);
      range.setEnd(node, part.index + part[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) found.push(`"${part[0]}" is broken in "${node.data.trim().slice(0, 60)}"`);
    }
  }
  return found;
}
