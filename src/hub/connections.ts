/** Connections to the Hub at a time: more give no more speed, and annoy servers. */
export const connections = 4;
