/* The other half of what is optimised as a whole. */
int halves(int depth);

int main(void) {
    return halves(3) > 0 ? 0 : 1;
}
