// What pages do beyond being read: tables sort, and what is not finished is followed.
import { follow } from "./follow.js";
import { sortTables } from "./tables.js";

sortTables(document);
follow(sortTables);
