/* Any processor: 16-byte vectors as the compiler makes them. */
#include "baseline.h"
