
/* rows[r][x] = sum_l plane[r][x stride + l - pad] v[l], with zeros beyond the edges */
static void along_rows(const sum *plane, int height, int width, const weight *v, int side, int stride, int pad,
                       int across, sum *rows)
{
    int r, x, l;
    for (r = 0; r < height; ++r)
        for (x = 0; x < across; ++x) {
            const int left = x * stride - pad;
            const int first = left < 0 ? -left : 0, last = left + side > width ? width - left : side;
            sum total = 0;
            for (l = first; l < last; ++l) total += plane[r * width + left + l] * v[l];
            rows[r * across + x] = total;
        }
}

/* q[y][x] += factor sum_k u[k] rows[y stride + k - pad][x] */
static void along_columns(const sum *rows, int height, int across, const weight *u, int side, int stride, int pad,
                          int down, float factor, float *q)
{
    int x, y, k;
    for (y = 0; y < down; ++y) {
        const int top = y * stride - pad;
        const int first = top < 0 ? -top : 0, last = top + side > height ? height - top : side;
        for (x = 0; x < across; ++x) {
            sum total = 0;
            for (k = first; k < last; ++k) total += rows[(top + k) * across + x] * u[k];
            q[y * across + x] += factor * (float)total;
        }
    }
}

/* The averages of squashed q over cells x cells parts of the image, each handed to the linear layer's weights. */
static void average(const float *q, const float *weight_down, int down, const float *weight_across, int across, int cells,
                    const weight *weights, float *total)
{
    float part[LARGEST_CELLS];
    int a, b, x, y;
    for (a = 0; a < cells * cells; ++a) part[a] = 0.0f;
    for (y = 0; y < down; ++y)
        for (b = 0; b < cells; ++b) {
            float of_row = 0.0f;
            for (x = 0; x < across; ++x) of_row += weight_across[b * across + x] * q[y * across + x];
            for (a = 0; a < cells; ++a) part[a * cells + b] += weight_down[a * down + y] * of_row;
        }
    for (a = 0; a < cells * cells; ++a) add_column(part[a], weights + a * CLASSES, total);
}
