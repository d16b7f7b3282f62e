/**
 * What every start of `trace` needs. The bundler puts this file before all others (`--inject`), and so puts what it imports
 * into one chunk, which node finds and reads faster than many.
 */

import "./commands/registry.js";
