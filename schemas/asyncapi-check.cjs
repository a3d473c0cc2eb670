// Judges asyncapi.yaml by AsyncAPI's own parser: node asyncapi-check.cjs PARSER-FOLDER FILE
const [parser, file] = process.argv.slice(2);
const { Parser, fromFile } = require(parser);
fromFile(new Parser(), file).parse().then(({ document, diagnostics }) => {
  const bad = diagnostics.filter((d) => d.severity === 0);
  for (const d of bad) console.error(`${file}: ${d.path.join(".")}: ${d.message}`);
  if (bad.length > 0 || !document) process.exit(1);
  const messages = document.components().messages().all();
  console.log(`asyncapi parser: ${document.channels().all().length} channels, ${messages.length} messages, no error`);
});
