/* The version of this source, for people; what is compatible is said by the
 * protocol's and the rules' own version numbers. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define CONSILIUM_VERSION "0.1"

#endif
