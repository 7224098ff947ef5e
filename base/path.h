/* Paths that people give: what can't be used is said in words, and nothing waits at one without a word. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

/* strerror(3), but where that says too little of a path: a folder for a file, and the other way round. */
const char *path_trouble(int number);

/* open(2) for reading; -1 and errno. A pipe is opened once somebody writes to it: `waiting` is called where that
 * is not so within a second. */
int path_open(const char *path, void (*waiting)(const char *path));

#endif
