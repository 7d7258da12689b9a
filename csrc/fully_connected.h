/* Convolution with one tap of images of one pixel, which is what a fully connected layer is: few numbers times a weight
   that is read, or written, once.  It should take as long as that memory takes.

   The weight is used where it lies, its rows in order.  Which kernel runs is a matter of one image, and every sum has
   one order, whatever the batch; so blocks can suit the batch and the threads. */
#ifndef ENGINE_FULLY_CONNECTED_H
#define ENGINE_FULLY_CONNECTED_H

#include "correlate.h"

/* source channels are the weight's columns: sums run along its rows */
int NAME(fully_connected_suits)(int64_t phases, const struct correlation *c);
int64_t NAME(fully_connected_workspace)(const struct correlation *c);
void NAME(fully_connected)(const struct correlation *c, const elem *source, const elem *weight, const elem *bias,
                           elem *dest, void *workspace);

/* backward data, of a weight whose rows lie together: source channels are its rows, which are added up */
int NAME(fully_connected_data_suits)(int64_t phases, const struct correlation *c);
int64_t NAME(fully_connected_data_workspace)(const struct correlation *c);
void NAME(fully_connected_data)(const struct correlation *c, const elem *source, const elem *weight, elem *dest,
                                void *workspace);

/* backward weight, where the batch is small and rows of the gradient lie together */
int NAME(fully_connected_weight_suits)(const struct correlation *c);
int64_t NAME(fully_connected_weight_workspace)(const struct correlation *c);
void NAME(fully_connected_weight)(const struct correlation *c, const elem *x, const elem *dy, elem *dweight,
                                  void *workspace);

#endif
