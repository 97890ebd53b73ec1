// What is made of node:http. An `import` of it reads every export, and reading WebSocket loads the undici that node brings for fetch: 2 MB of
// every gateway's memory for what none of it uses. Asked for this way, only what is named is read; types are imported as ever.
export const { Agent, createServer, IncomingMessage, ServerResponse } = process.getBuiltinModule('node:http');
