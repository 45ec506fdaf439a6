"""A sample of KuaiRand-Pure (CC BY-SA 4.0, see NOTICE), and the program that builds it."""
