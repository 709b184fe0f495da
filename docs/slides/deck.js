// Lays the blocks of every section out on slides of 1280 × 720, as many as they need, then starts reveal.js.
const BOTTOM = 676; // content ends here; below are the slide's number and the buttons that open code
const LARGEST = 1.6; // a small figure grows up to this
const SMALLEST = 0.9; // a figure that would have to shrink more gets a slide of its own

const measure = document.body.appendChild(Object.assign(document.createElement("div"), { id: "measure" }));

function newPage(heading, column) {
  const section = column.appendChild(document.createElement("section"));
  const page = document.createElement("div");
  page.className = "page";
  page.append(heading.cloneNode(true));
  measure.replaceChildren(page);
  const codes = Object.assign(document.createElement("div"), { className: "codes" });
  const notes = Object.assign(document.createElement("aside"), { className: "notes" });
  return { section, page, codes, notes, blocks: [] };
}

const height = (page) => page.lastElementChild.getBoundingClientRect().bottom - page.getBoundingClientRect().top;

function close({ section, page, codes, notes, blocks }) {
  page.classList.add("roomy"); // a slide of text alone has larger type, if it still fits
  if (!blocks.every((block) => block.matches("p, ul, ol, div.fragment")) || height(page) > BOTTOM) page.classList.remove("roomy");
  if (codes.children.length) page.append(codes);
  section.append(page);
  if (notes.children.length) section.append(notes);
}

// How much of its natural size a figure has if it goes below what is already there, and `next` below it if it can.
function scaleOf(image, page, next) {
  const room = BOTTOM - height(page) - 20;
  if (next?.matches("p")) {
    page.append(next.cloneNode(true));
    const both = (BOTTOM - height(page) - 20) / image.naturalHeight;
    page.lastElementChild.remove();
    if (both >= SMALLEST) return Math.min(LARGEST, 1152 / image.naturalWidth, both);
  }
  return Math.min(LARGEST, 1152 / image.naturalWidth, room / image.naturalHeight);
}

// Code that leaves no room for what it prints goes behind a button, as long code does.
function folded(code) {
  const details = Object.assign(document.createElement("details"), { className: "code", innerHTML: "<summary>code</summary>" });
  details.append(code);
  return details;
}

// A list becomes one list per item, so that it can go on overleaf; fragments and text stay whole.
function blocksOf(section) {
  return [...section.children].slice(1).flatMap((block) => {
    if (!block.matches("ul, ol")) return [block];
    return [...block.children].map((item, i) => {
      const list = block.cloneNode();
      list.start = i + 1;
      list.append(item);
      return list;
    });
  });
}

function layOut(section, column) {
  const heading = section.querySelector("h2");
  let slide = newPage(heading, column);
  const blocks = blocksOf(section);
  for (const [i, block] of blocks.entries()) {
    if (block.matches("aside.notes")) slide.notes.append(...block.childNodes);
    else if (block.matches("details.code")) slide.codes.append(block);
    else {
      const image = block.matches("img") ? block : null;
      const fits = () => {
        if (image) {
          const scale = scaleOf(image, slide.page, blocks[i + 1]);
          if (scale < Math.min(SMALLEST, 1152 / image.naturalWidth) && slide.blocks.length) return false;
          image.width = Math.floor(image.naturalWidth * scale);
        }
        slide.page.append(block);
        return height(slide.page) <= BOTTOM;
      };
      if (!fits()) {
        block.remove();
        if (slide.blocks.length) {
          // "Here is the network:" goes along with the network.
          const last = slide.blocks.at(-1);
          const along = slide.blocks.length > 1 && last.matches("p") && last.textContent.trim().endsWith(":");
          if (along) slide.blocks.pop().remove();
          const button = slide.codes.lastElementChild && image ? slide.codes.lastElementChild : null;
          close(slide);
          slide = newPage(heading, column);
          if (along) slide.blocks.push(slide.page.appendChild(last));
          if (button) slide.codes.append(button);
        }
        if (!fits() && block.matches(".cell")) slide.codes.append(folded(block.querySelector(".highlight")));
        if (!image && height(slide.page) > BOTTOM) block.style.zoom = Math.max(0.6, (BOTTOM - block.offsetTop) / block.offsetHeight - 0.01);
      }
      slide.blocks.push(block);
    }
  }
  close(slide);
  section.remove();
}

async function start() {
  if (window.MathJax.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map((image) => image.decode()));
  for (const column of document.querySelectorAll(".slides > section"))
    for (const section of [...column.children]) layOut(section, column);
  measure.remove();
  document.querySelector(".page").classList.add("title");
  await Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, minScale: 0.1, maxScale: 4,
    hash: true, slideNumber: "c/t", transition: "none", plugins: [RevealNotes],
  });
  document.body.dataset.ready = "yes";
}
start();
