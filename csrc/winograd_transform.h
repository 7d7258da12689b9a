/* The matrices of Winograd's convolution, as straight-line code on vectors (one lane, one channel).

   F(4, 3): four outputs y of a correlation with three weights g, from six inputs d, in six multiplications:
       y = A^T [(G g) * (B^T d)],   and in two dimensions   Y = A^T [(G g G^T) * (B^T d B)] A.
   Cook and Toom: interpolate at the points 0, a, -a, b, -b and infinity.  With N(p) = product over other points q of (p - q),
       row p of B^T:  the coefficients of the polynomial  prod over q of (x - q),  infinity: over all five points;
       row p of G:    1/N(p), p/N(p), p^2/N(p),  infinity: 0 0 1;
       column p of A^T: 1, p, p^2, p^3,  infinity: 0 0 0 1.
   Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), take a = 1 and b = 2.  Points whose products stay
   near one round far less (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020):
   a = 3/4 and b = 3/2 are as exact as a plain sum of products.  tests/test_winograd.py derives every constant below.

   A tile at the edge of an image, of which only r < 4 outputs exist, needs the products at r + 2 of the points alone, and
   takes the same G g there: interpolation at 0, a, -a, b (the first r + 1 of them) and infinity, whose row p of B^T is that
   of its own points times N(p) over N(p) of its own points.  What belongs to a point has the same place in every array.

   F(3, 4), the gradient of the weights, is the same with the roles of y and g exchanged: same points, same B^T. */
#ifndef ENGINE_WINOGRAD_TRANSFORM_H
#define ENGINE_WINOGRAD_TRANSFORM_H

#include "vec.h"

#define A1 ((elem)(3. / 4)) /* the point a and its powers */
#define A2 ((elem)(9. / 16))
#define A3 ((elem)(27. / 64))
#define B1 ((elem)(3. / 2))
#define B2 ((elem)(9. / 4))
#define B3 ((elem)(27. / 8))

/* whether tiles of so many outputs need the product at the point of that place */
INLINE int winograd_uses(int outputs, int place) { return place < 2 || place == 5 || place <= outputs; }

/* B^T d, in place */
INLINE void winograd_input(vec d[6]) {
    vec even_a = d[4] - B2 * d[2], odd_a = d[3] - B2 * d[1];
    vec even_b = d[4] - A2 * d[2], odd_b = d[3] - A2 * d[1];
    d[0] = A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4];
    d[5] = A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5];
    d[1] = even_a + A1 * odd_a;
    d[2] = even_a - A1 * odd_a;
    d[3] = even_b + B1 * odd_b;
    d[4] = even_b - B1 * odd_b;
}

/* the same of tiles of fewer outputs */
INLINE void winograd_input_3(vec d[6]) {
    vec odd = d[3] - B1 * d[2], even = d[2] - B1 * d[1];
    d[0] = B1 * (odd - A2 * (d[1] - B1 * d[0]));
    d[5] = d[4] - B1 * d[3] - A2 * even;
    d[3] = 2 * B1 * (d[3] - A2 * d[1]);
    d[1] = (B1 + A1) * (odd + A1 * even);
    d[2] = (B1 - A1) * (odd - A1 * even);
}

INLINE void winograd_input_2(vec d[6]) {
    vec even = (A2 - B2) * d[2], odd = (A2 - B2) * A1 * d[1];
    d[5] = d[3] - A2 * d[1];
    d[0] = B2 * (A2 * d[0] - d[2]);
    d[1] = even + odd;
    d[2] = even - odd;
}

INLINE void winograd_input_1(vec d[6]) {
    d[5] = d[2] - A1 * d[1];
    d[0] = A1 * B2 * (A1 * d[0] - d[1]);
    d[1] = 2 * A1 * (A2 - B2) * d[1];
}

/* G g */
INLINE void winograd_weight(const vec g[3], vec u[6]) {
    vec even_a = (elem)(-128. / 243) * g[0] - (elem)(8. / 27) * g[2];
    vec even_b = (elem)(32. / 243) * g[0] + (elem)(8. / 27) * g[2];
    u[0] = (elem)(64. / 81) * g[0];
    u[1] = even_a - (elem)(32. / 81) * g[1];
    u[2] = even_a + (elem)(32. / 81) * g[1];
    u[3] = even_b + (elem)(16. / 81) * g[1];
    u[4] = even_b - (elem)(16. / 81) * g[1];
    u[5] = g[2];
}

/* A^T m */
INLINE void winograd_output(const vec m[6], vec y[4]) {
    vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
    vec even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = A1 * odd_a + B1 * odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = A3 * odd_a + (B3 * odd_b + m[5]);
}

/* the same of tiles of fewer outputs */
INLINE void winograd_output_3(const vec m[6], vec y[4]) {
    vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
    y[0] = m[0] + even_a + m[3];
    y[1] = A1 * odd_a + B1 * m[3];
    y[2] = A2 * even_a + (B2 * m[3] + m[5]);
}

INLINE void winograd_output_2(const vec m[6], vec y[4]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = A1 * (m[1] - m[2]) + m[5];
}

INLINE void winograd_output_1(const vec m[6], vec y[4]) {
    y[0] = m[0] + m[1] + m[5];
}

/* F(3, 4): G dy, in place, four to six */
INLINE void winograd_gradient(vec g[6]) {
    vec even_a = (elem)(-128. / 243) * g[0] - (elem)(8. / 27) * g[2], odd_a = (elem)(32. / 81) * g[1] + (elem)(2. / 9) * g[3];
    vec even_b = (elem)(32. / 243) * g[0] + (elem)(8. / 27) * g[2], odd_b = (elem)(16. / 81) * g[1] + (elem)(4. / 9) * g[3];
    g[0] = (elem)(64. / 81) * g[0];
    g[5] = g[3];
    g[1] = even_a - odd_a;
    g[2] = even_a + odd_a;
    g[3] = even_b + odd_b;
    g[4] = even_b - odd_b;
}

/* F(3, 4): A^T m */
INLINE void winograd_weight_gradient(const vec m[6], vec dw[3]) {
    vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
    vec even_b = m[3] + m[4], odd_b = m[3] - m[4];
    dw[0] = m[0] + even_a + even_b;
    dw[1] = A1 * odd_a + B1 * odd_b;
    dw[2] = A2 * even_a + (B2 * even_b + m[5]);
}

#endif
