/** Writes how deep it is from code that was compiled before it ran. */
public class Compiled {
  static int deep(int left) throws Exception {
    if (left > 0) return deep(left - 1) + 1;
    System.out.write("deep\n".getBytes());
    System.out.flush();
    return 0;
  }

  static void outer() throws Exception {
    deep(3);
  }

  public static void main(String[] words) throws Exception {
    for (int k = 0; k < 3; k++) outer();
  }
}
