
/* u^T X v on a window of a stack of planes, rows x columns each */
static float in_window(const pixel *image, int planes, int rows, int columns, const unsigned short *window,
                       const weight *u, const weight *v)
{
    const int top = window[0], left = window[1], height = window[2], width = window[3];
    float form = 0.0f;
    int c, k, l;
    for (c = 0; c < planes; ++c)
        for (k = 0; k < height; ++k) {
            const pixel *row = image + (c * rows + top + k) * columns + left;
            sum total = 0;
            for (l = 0; l < width; ++l) total += row[l] * v[l];
            form += (float)u[c * height + k] * (float)total;
        }
    return form;
}
